"""Checks what an emulator bundle holds beside its weights, by the modality of its model."""

import json
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from offsite.errors import BundleError
from offsite.families import (
    Family,
    config_problems,
    family_of,
    generation_problems,
    image_processor_problems,
    named_token_problems,
    tokenizer_file_problems,
    tokenizer_problems,
)

INDEX = "model.safetensors.index.json"
_CONFIG, _GENERATION = "config.json", "generation_config.json"
_TOKENIZER, _TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
_PROCESSOR = "preprocessor_config.json"
_NEEDED: Mapping[str, frozenset[str]] = {
    "text": frozenset({_TOKENIZER, _TOKENIZER_CONFIG}),
    "images": frozenset({_PROCESSOR}),
}
"""The files that a bundle of each modality has."""
_ALLOWED: Mapping[str, frozenset[str]] = {**_NEEDED, "text": _NEEDED["text"] | {_GENERATION}}
COMPANIONS = frozenset({_CONFIG}).union(*_ALLOWED.values())
"""What a bundle of any modality may hold, beside its weights and its manifest."""
_LARGEST_JSON = {"tokenizer.json": 40 << 20, INDEX: 16 << 20, "tokenizer_config.json": 4 << 20}
"""Bytes. The largest tokenizers published have 32 MiB (Gemma 3) and 27 MiB (gpt-oss, Llama 4)."""
_MOST_MARKS, _MOST_KEYS = 3_000_000, 1_000_000
"""Of a JSON file, before it is parsed: of the marks `[{,:` there is one for every value, and one
more for every key. A value takes 60 to 200 bytes of memory, a key 400. Gemma 3 (262,144 tokens,
514,906 merges) has about 2.2 million marks and 0.3 million keys."""


def check_companions(folder: Path, names: Container[str]) -> dict[str, Any]:
    """Check what an emulator bundle holds beside its weights; give its config.

    Args:
        names: of its files.

    Raises:
        BundleError: the first thing that is wrong, with the file it is in.
    """
    _require(folder, _CONFIG, names)
    config = read_json(folder / _CONFIG)
    _refuse(folder / _CONFIG, config_problems(config))
    row = family_of(config)
    for name in sorted(_NEEDED[row.modality]):
        _require(folder, name, names)
    for name in sorted(COMPANIONS - _ALLOWED[row.modality] - {_CONFIG}):
        if name in names:
            raise BundleError(f"{folder / name} does not belong to a {row.architecture}")
    if row.modality == "images":
        path = folder / _PROCESSOR
        _refuse(path, image_processor_problems(read_json(path), row, config))
    else:
        _check_text(folder, row, config, names)
    return config


def _require(folder: Path, name: str, names: Container[str]) -> None:
    if name not in names:
        raise BundleError(f"{folder} has no {name}")


def _check_text(folder: Path, row: Family, config: dict[str, Any], names: Container[str]) -> None:
    if _GENERATION in names:
        path = folder / _GENERATION
        _refuse(path, generation_problems(read_json(path)))
    beside = read_json(folder / _TOKENIZER_CONFIG)
    _refuse(folder / _TOKENIZER_CONFIG, tokenizer_problems(beside))
    tokenizer, path = read_json(folder / _TOKENIZER), folder / _TOKENIZER
    _refuse(path, tokenizer_file_problems(tokenizer, row.sizes(config)["V"], row.beyond))
    _refuse(folder / _TOKENIZER_CONFIG, named_token_problems(beside, tokenizer))


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of a bundle.

    Raises:
        BundleError: it is too large, or no JSON object, or ambiguous.
    """
    most = _LARGEST_JSON.get(path.name, 1 << 20)
    if path.stat().st_size > most:
        raise BundleError(f"{path} is larger than {most} bytes")
    try:
        text = path.read_text("utf-8")
        if sum(map(text.count, "[{,:")) > _MOST_MARKS or text.count(":") > _MOST_KEYS:
            raise BundleError(
                f"{path} holds too much: more than {_MOST_MARKS} values and keys, or {_MOST_KEYS} "
                "keys"
            )
        content = json.loads(text, object_pairs_hook=_once, parse_constant=_number)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise BundleError(f"{path} is not a JSON object")
    return content


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of which two readers cannot read two different things."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _number(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _refuse(path: Path, problems: list[str]) -> None:
    if problems:
        raise BundleError(f"{path} is not allowed: " + "; ".join(problems[:10]))
