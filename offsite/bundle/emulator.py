"""Checks an emulator of the other party before it is opened.

Everything is checked before anything is loaded: no byte of a file that fails here reaches torch,
transformers or a tokenizer. The folder must be the receiver's own copy, which nobody else changes.
"""

import re
from pathlib import Path
from typing import Any

from offsite.bundle.companions import COMPANIONS, INDEX, check_companions, read_json
from offsite.bundle.files import check_names, compare, headers
from offsite.bundle.manifest import (
    MANIFEST,
    EmulatorFacts,
    Manifest,
    read_manifest,
)
from offsite.errors import BundleError, UnknownFamilyError
from offsite.families import Family, family_of

_WEIGHTS = re.compile(r"model(-[0-9]{5}-of-[0-9]{5})?\.safetensors")
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


def _check_kind(manifest: Manifest) -> EmulatorFacts:
    if not isinstance(manifest.facts, EmulatorFacts):
        raise BundleError(f"{manifest.name} is an {manifest.facts.kind}, not an emulator")
    check_names(manifest, is_emulator_file)
    return manifest.facts


def is_emulator_file(name: str) -> bool:
    """Whether an emulator bundle may hold a file of this name, beside its manifest."""
    return name in {*COMPANIONS, INDEX} or bool(_WEIGHTS.fullmatch(name))


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
    if INDEX not in manifest.files:
        if shards != ["model.safetensors"]:
            raise BundleError(f"{folder} has several weight files, but no {INDEX}")
        return
    index = read_json(folder / INDEX)
    real = {name: file for file in shards for name, _, _ in headers(folder / file)}
    if set(index) - {"metadata", "weight_map"} or index.get("weight_map") != real:
        raise BundleError(f"{folder / INDEX} does not say where the tensors are")
