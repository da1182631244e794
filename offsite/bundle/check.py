"""Whether a bundle that came from the other party may be opened.

Everything is checked before anything is loaded: no byte of a file that fails here reaches torch,
transformers or a tokenizer. The folder must be the receiver's own copy, which nobody else changes.
"""

import json
import re
from collections.abc import Callable, Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from offsite.bundle.manifest import (
    MANIFEST,
    AdapterFacts,
    EmulatorFacts,
    Manifest,
    file_digest,
    read_manifest,
)
from offsite.bundle.record import EmulatorRecord
from offsite.errors import BundleError, UnknownFamilyError
from offsite.families import (
    Family,
    component_problems,
    config_problems,
    family_of,
    generation_problems,
    tokenizer_problems,
)

ADAPTER = "adapter.safetensors"
_WEIGHTS = re.compile(r"model(-[0-9]{5}-of-[0-9]{5})?\.safetensors")
_INDEX = "model.safetensors.index.json"
_LARGEST_JSON = {"tokenizer.json": 128 << 20, _INDEX: 64 << 20}
_JSON_CHECKS: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "config.json": config_problems,
    "tokenizer_config.json": tokenizer_problems,
    "generation_config.json": generation_problems,
}
_EMULATOR_FILES = frozenset({*_JSON_CHECKS, "tokenizer.json", _INDEX})
"""What an emulator bundle may hold, beside its weights and its manifest."""

_LARGEST_HEADER = 16 << 20
"""Bytes beside an adapter's numbers: the safetensors header, and room for what aligns it."""
_DTYPES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}


def admit_emulator(manifest: Manifest) -> None:
    """Check what a manifest says, before any of the files that it names is fetched.

    Raises:
        BundleError: it is of no emulator, or names a file that none may hold.
    """
    _check_kind(manifest)


def admit_adapter(manifest: Manifest, record: EmulatorRecord) -> None:
    """Check what a manifest says, before any of the files that it names is fetched.

    Raises:
        BundleError: it is of no adapter that the record of its emulator allows, or too large.
    """
    facts = _adapter_facts(manifest, record)
    shapes = record.expected(facts.method, facts.scope, facts.rank).values()
    most = sum(4 * prod(shape) for shape in shapes) + _LARGEST_HEADER
    if manifest.size > most:
        raise BundleError(f"{manifest.name} has {manifest.size} bytes; {most} are allowed at most")


def check_emulator(folder: Path) -> Manifest:
    """Check a whole emulator bundle that somebody sent; give its manifest.

    Whether its numbers are finite, and its tokenizer its own, shows when it is loaded.

    Raises:
        BundleError: the first thing that is wrong, with the file it is in.
    """
    manifest, _ = read_manifest(folder)
    _check_kind(manifest)
    check_files(folder, manifest)
    return check_contents(folder)


def check_contents(folder: Path) -> Manifest:
    """Check what an emulator bundle holds, but not that its files are those of its manifest.

    Its sender asks this too: what no receiver would open is better not sent.

    Raises:
        BundleError: the first thing that is wrong, with the file it is in.
    """
    manifest, _ = read_manifest(folder)
    facts = _check_kind(manifest)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        if name not in manifest.files:
            raise BundleError(f"{folder} has no {name}")
    contents = {name: _read_json(folder / name) for name in _JSON_CHECKS if name in manifest.files}
    for name, content in contents.items():
        _refuse(folder / name, _JSON_CHECKS[name](content))
    config = contents["config.json"]
    tokenizer = _read_json(folder / "tokenizer.json")
    _refuse(folder / "tokenizer.json", component_problems(tokenizer))
    row = _family(folder, config, manifest)
    _check_tensors(folder, manifest, row, config)
    _check_index(folder, manifest)
    if facts.bottom + facts.top >= row.count(config):
        raise BundleError(f"{folder / MANIFEST} names more end blocks than the model has blocks")
    return manifest


def _check_kind(manifest: Manifest) -> EmulatorFacts:
    if not isinstance(manifest.facts, EmulatorFacts):
        raise BundleError(f"{manifest.name} is an {manifest.facts.kind}, not an emulator")
    _check_names(manifest, is_emulator_file)
    return manifest.facts


def _adapter_facts(manifest: Manifest, record: EmulatorRecord) -> AdapterFacts:
    facts, name = manifest.facts, manifest.name
    if not isinstance(facts, AdapterFacts):
        raise BundleError(f"{name} is an {facts.kind}, not an adapter")
    _check_names(manifest, lambda file: file == ADAPTER)
    if facts.answers != record.digest:
        raise BundleError(f"{name} was tuned in {facts.answers}, not in {record.digest}")
    if manifest.made_by != record.recipient:
        raise BundleError(
            f"{name} was made by {manifest.made_by}, but its emulator was made for "
            f"{record.recipient}"
        )
    if (facts.method, facts.scope) not in record.allowed:
        raise BundleError(f"{name}: an adapter {facts.method}/{facts.scope} is not allowed")
    if not (1 <= facts.rank <= record.max_rank if facts.method == "LoRA" else facts.rank == 0):
        raise BundleError(f"{name}: rank {facts.rank} is not allowed; at most {record.max_rank}")
    return facts


def check_adapter(folder: Path, record: EmulatorRecord) -> Manifest:
    """Check a returned adapter against the owner's record of the emulator that it answers.

    Raises:
        BundleError: it is damaged, answers another bundle, comes from somebody else, or holds
            anything that the record does not allow.
    """
    manifest, _ = read_manifest(folder)
    facts = _adapter_facts(manifest, record)
    check_files(folder, manifest)
    expected = record.expected(facts.method, facts.scope, facts.rank)
    path = folder / ADAPTER
    found = {name: (shape, dtype) for name, shape, dtype in _headers(path)}
    _compare(path, found, {name: (shape, "F32") for name, shape in expected.items()})
    _check_finite(path)
    return manifest


def is_emulator_file(name: str) -> bool:
    """Whether an emulator bundle may hold a file of this name, beside its manifest."""
    return name in _EMULATOR_FILES or bool(_WEIGHTS.fullmatch(name))


def _check_names(manifest: Manifest, allowed: Callable[[str], bool]) -> None:
    for name in manifest.files:
        if not allowed(name):
            raise BundleError(
                f"{MANIFEST} of {manifest.name} names a file that is not allowed: {name!r}"
            )


def check_files(folder: Path, manifest: Manifest) -> None:
    """Check that a folder holds the files of its manifest, byte for byte, and nothing else.

    Raises:
        BundleError: a file is missing, damaged, unknown, or no regular file.
    """
    present = {path.name: path for path in folder.iterdir() if path.name != MANIFEST}
    for name, path in present.items():
        if path.is_symlink() or not path.is_file():
            raise BundleError(f"{str(path)!r} is not a regular file; a bundle holds nothing else")
        if name not in manifest.files:
            raise BundleError(f"{str(path)!r} is not in the manifest")
    for name, entry in manifest.files.items():
        if name not in present:
            raise BundleError(f"{folder} lacks the file {name!r}")
        path = present[name]
        if path.stat().st_size != entry.size or file_digest(path) != entry.sha256:
            raise BundleError(f"{path} is not the file of the manifest: it was damaged or changed")


def _read_json(path: Path) -> dict[str, Any]:
    most = _LARGEST_JSON.get(path.name, 1 << 20)
    if path.stat().st_size > most:
        raise BundleError(f"{path} is larger than {most} bytes")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise BundleError(f"{path} is not a JSON object")
    return content


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


def _headers(path: Path) -> Iterator[tuple[str, tuple[int, ...], str]]:
    """Read name, shape and dtype of every tensor in a file, but no data."""
    try:
        with safe_open(path, "numpy") as file:
            for name in file.keys():  # noqa: SIM118 - not a dict
                view = file.get_slice(name)
                yield name, tuple(view.get_shape()), view.get_dtype()
    except (SafetensorError, OSError, ValueError) as error:
        raise BundleError(f"{path} is not a safetensors file: {error}") from error


def _check_tensors(folder: Path, manifest: Manifest, row: Family, config: dict[str, Any]) -> None:
    found: dict[str, tuple[tuple[int, ...], str]] = {}
    for file in filter(_WEIGHTS.fullmatch, manifest.files):
        for name, shape, dtype in _headers(folder / file):
            if name in found:
                raise BundleError(f"{folder / file} repeats the tensor {name!r}")
            found[name] = (shape, dtype)
    dtype = _DTYPES[manifest.dtype]
    expected = {name: (shape, dtype) for name, shape in row.tensors(config).items()}
    _compare(folder, found, expected)


def _compare(
    where: Path,
    found: dict[str, tuple[tuple[int, ...], str]],
    expected: dict[str, tuple[tuple[int, ...], str]],
) -> None:
    if missing := sorted(expected.keys() - found.keys()):
        raise BundleError(f"{where} lacks {len(missing)} tensors, among them {missing[0]!r}")
    if surplus := sorted(found.keys() - expected.keys()):
        raise BundleError(f"{where} has {len(surplus)} tensors too many, such as {surplus[0]!r}")
    for name, facts in found.items():
        if facts != expected[name]:
            raise BundleError(f"{where}: {name!r} is {facts}, but must be {expected[name]}")


def _check_index(folder: Path, manifest: Manifest) -> None:
    """Check that the index of a sharded model points where its tensors really are."""
    shards = [name for name in manifest.files if _WEIGHTS.fullmatch(name)]
    if _INDEX not in manifest.files:
        if shards != ["model.safetensors"]:
            raise BundleError(f"{folder} has several weight files, but no {_INDEX}")
        return
    index = _read_json(folder / _INDEX)
    real = {name: file for file in shards for name, _, _ in _headers(folder / file)}
    if set(index) - {"metadata", "weight_map"} or index.get("weight_map") != real:
        raise BundleError(f"{folder / _INDEX} does not say where the tensors are")


def _check_finite(path: Path) -> None:
    with safe_open(path, "numpy") as file:
        for name in file.keys():  # noqa: SIM118 - not a dict
            if not np.isfinite(file.get_tensor(name)).all():
                raise BundleError(f"{path}: {name!r} holds a value that is not finite")
