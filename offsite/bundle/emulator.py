"""Checks an emulator of the other party before it is opened.

Everything is checked before anything is loaded: no byte of a file that fails here reaches torch,
transformers or a tokenizer. The folder must be the receiver's own copy, which nobody else changes.
"""

import json
import re
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any

from offsite.bundle.files import check_names, compare, headers
from offsite.bundle.manifest import (
    MANIFEST,
    EmulatorFacts,
    Manifest,
    read_manifest,
)
from offsite.errors import BundleError, UnknownFamilyError
from offsite.families import (
    Family,
    config_problems,
    family_of,
    generation_problems,
    named_token_problems,
    tokenizer_file_problems,
    tokenizer_problems,
)

_WEIGHTS = re.compile(r"model(-[0-9]{5}-of-[0-9]{5})?\.safetensors")
_INDEX = "model.safetensors.index.json"
_LARGEST_JSON = {"tokenizer.json": 40 << 20, _INDEX: 16 << 20, "tokenizer_config.json": 4 << 20}
"""Bytes. The largest tokenizers published have 32 MiB (Gemma 3) and 27 MiB (gpt-oss, Llama 4)."""
_MOST_MARKS, _MOST_KEYS = 3_000_000, 1_000_000
"""Of a JSON file, before it is parsed: of the marks `[{,:` there is one for every value, and one
more for every key. A value takes 60 to 200 bytes of memory, a key 400. Gemma 3 (262,144 tokens,
514,906 merges) has about 2.2 million marks and 0.3 million keys."""
_JSON_CHECKS: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "config.json": config_problems,
    "tokenizer_config.json": tokenizer_problems,
    "generation_config.json": generation_problems,
}
_EMULATOR_FILES = frozenset({*_JSON_CHECKS, "tokenizer.json", _INDEX})
"""What an emulator bundle may hold, beside its weights and its manifest."""

_DTYPES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}


def admit_emulator(manifest: Manifest) -> None:
    """Check what a manifest says, before any of the files that it names is fetched.

    Raises:
        BundleError: it is of no emulator, or names a file that none may hold.
    """
    _check_kind(manifest)


def check_emulator(folder: Path) -> Manifest:
    """Check what an emulator bundle holds that is whole (`check_whole`); give its manifest.

    Its sender asks this too: what no receiver would open is better not sent. Whether its numbers
    are finite, and its tokenizer its own, shows when it is loaded.

    Raises:
        BundleError: the first thing that is wrong, with the file it is in.
    """
    manifest, _ = read_manifest(folder)
    facts = _check_kind(manifest)
    config = check_companions(folder, manifest.files)
    row = _family(folder, config, manifest)
    _check_tensors(folder, manifest, row, config)
    _check_index(folder, manifest)
    if facts.bottom + facts.top >= row.count(config):
        raise BundleError(f"{folder / MANIFEST} names more end blocks than the model has blocks")
    return manifest


def check_companions(folder: Path, names: Container[str]) -> dict[str, Any]:
    """Check what an emulator bundle holds beside its weights; give its config.

    Args:
        names: of its files.

    Raises:
        BundleError: the first thing that is wrong, with the file it is in.
    """
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        if name not in names:
            raise BundleError(f"{folder} has no {name}")
    contents = {name: _read_json(folder / name) for name in _JSON_CHECKS if name in names}
    for name, content in contents.items():
        _refuse(folder / name, _JSON_CHECKS[name](content))
    config = contents["config.json"]
    _check_tokenizer(folder, config, contents["tokenizer_config.json"])
    return config


def _check_tokenizer(folder: Path, config: dict[str, Any], beside: dict[str, Any]) -> None:
    row, path = family_of(config), folder / "tokenizer.json"
    tokenizer = _read_json(path)
    _refuse(path, tokenizer_file_problems(tokenizer, row.sizes(config)["V"], row.beyond))
    _refuse(folder / "tokenizer_config.json", named_token_problems(beside, tokenizer))


def _check_kind(manifest: Manifest) -> EmulatorFacts:
    if not isinstance(manifest.facts, EmulatorFacts):
        raise BundleError(f"{manifest.name} is an {manifest.facts.kind}, not an emulator")
    check_names(manifest, is_emulator_file)
    return manifest.facts


def is_emulator_file(name: str) -> bool:
    """Whether an emulator bundle may hold a file of this name, beside its manifest."""
    return name in _EMULATOR_FILES or bool(_WEIGHTS.fullmatch(name))


def _read_json(path: Path) -> dict[str, Any]:
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


def _family(folder: Path, config: dict[str, Any], manifest: Manifest) -> Family:
    try:
        row = family_of(config)
    except UnknownFamilyError as error:
        raise BundleError(f"{folder}: {error}") from error
    if row.architecture != manifest.architecture:
        raise BundleError(f"{folder}: manifest and config name different architectures")
    return row


def _check_tensors(folder: Path, manifest: Manifest, row: Family, config: dict[str, Any]) -> None:
    found: dict[str, tuple[tuple[int, ...], str]] = {}
    for file in filter(_WEIGHTS.fullmatch, manifest.files):
        for name, shape, dtype in headers(folder / file):
            if name in found:
                raise BundleError(f"{folder / file} repeats the tensor {name!r}")
            found[name] = (shape, dtype)
    dtype = _DTYPES[manifest.dtype]
    expected = {name: (shape, dtype) for name, shape in row.tensors(config).items()}
    compare(folder, found, expected)


def _check_index(folder: Path, manifest: Manifest) -> None:
    """Check that the index of a sharded model points where its tensors really are."""
    shards = [name for name in manifest.files if _WEIGHTS.fullmatch(name)]
    if _INDEX not in manifest.files:
        if shards != ["model.safetensors"]:
            raise BundleError(f"{folder} has several weight files, but no {_INDEX}")
        return
    index = _read_json(folder / _INDEX)
    real = {name: file for file in shards for name, _, _ in headers(folder / file)}
    if set(index) - {"metadata", "weight_map"} or index.get("weight_map") != real:
        raise BundleError(f"{folder / _INDEX} does not say where the tensors are")
