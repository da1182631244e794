"""Reads the shape of a model from its folder, and counts data: from small files and sizes alone."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from offsite.bundle import MANIFEST, EmulatorFacts, read_manifest
from offsite.bundle.files import headers
from offsite.bundle.numbers import SIZES
from offsite.bundle.original import weights_in
from offsite.errors import ModelError
from offsite.rows import DataFile
from offsite.sizing.shape import Shape
from offsite.sizing.stages import Subject
from offsite.store import disk_errors

BYTES_PER_TOKEN = 4
"""How many bytes of text a token stands for, about."""
_NAMED = {"float32": 4, "bfloat16": 2, "float16": 2}


def subject_in(path: Path) -> Subject:
    """Read the shape of a model.

    Args:
        path: A model's folder, an opened emulator, or a config.json.

    Raises:
        ModelError, BundleError, UnknownFamilyError: It cannot be read.
    """
    folder = path if path.is_dir() else path.parent
    config = _json(folder / "config.json" if path.is_dir() else path)
    alone = not path.is_dir()
    shape = Shape.of(config, _number(folder, config, alone), _pixels(folder))
    if alone or not (folder / MANIFEST).is_file():
        return Subject(shape=shape)
    facts = read_manifest(folder)[0].facts
    if not isinstance(facts, EmulatorFacts):
        raise ModelError(f"{folder} is an {facts.kind}, not an emulator; name another folder")
    return Subject(shape=shape, bottom=facts.bottom, top=facts.top, emulator=True)


def count_examples(data: DataFile, shape: Shape, length: int) -> int:
    """Count the examples of a data set, without a tokenizer: rows, images, or blocks of text."""
    with disk_errors(data.path):
        if data.format == "rows":
            with data.path.open("rb") as file:
                return sum(bool(line.strip()) for line in file)
        if data.format == "prose":
            return max(1, data.path.stat().st_size // (BYTES_PER_TOKEN * shape.positions(length)))
        return _images(data.path)


def count_positions(data: DataFile, shape: Shape) -> int:
    """Count the positions of a data set: tokens by the size of the text, or patches of images."""
    if shape.patches is not None:
        return count_examples(data, shape, 1) * shape.patches
    with disk_errors(data.path):
        return max(1, data.path.stat().st_size // BYTES_PER_TOKEN)


def _images(path: Path) -> int:
    if path.is_dir():
        return sum(each.is_file() for each in path.rglob("*"))
    from pyarrow.parquet import read_metadata

    return int(read_metadata(path).num_rows)


def _number(folder: Path, config: Mapping[str, Any], alone: bool) -> int:
    """Find how many bytes a number takes: by the weights if they are there, else by the config."""
    weights = [] if alone else weights_in(folder)
    if weights:
        kind = next((dtype for _, _, dtype in headers(weights[0])), "")
        return SIZES.get(kind, 4)
    return _NAMED.get(str(config.get("dtype") or config.get("torch_dtype")), 2)


def _pixels(folder: Path) -> int | None:
    """Find the side of an image after its processor; None: there is no processor."""
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return None
    config = _json(path)
    size = config.get("crop_size") if config.get("do_center_crop") else None
    found = (size or config.get("size") or {}).get("height")
    return found if isinstance(found, int) else None


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise ModelError(f"there is no {path}; name the folder of a model") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read {path}: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} is not a JSON object")
    return content
