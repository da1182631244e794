"""What the config.json in a model's folder says of it; the model is not loaded."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from offsite.errors import ModelError
from offsite.families import Family, family_of
from offsite.modality import MODALITIES, Modality

Read = TypeVar("Read")


def block_count(folder: Path) -> int:
    """Count the blocks of a model in a folder.

    Raises:
        UnknownFamilyError: the architecture has no row in the family table.
        ModelError: there is no config.json, or it is damaged.
    """
    return _of_config(folder, lambda row, config: row.count(config))


def modality_of(folder: Path) -> type[Modality]:
    """Find the modality of a model in a folder.

    Raises:
        UnknownFamilyError: the architecture has no row in the family table.
        ModelError: there is no config.json, or it is damaged.
    """
    return _of_config(folder, lambda row, _: MODALITIES[row.modality])


def _of_config(folder: Path, read: Callable[[Family, Mapping[str, Any]], Read]) -> Read:
    try:
        raw = json.loads((folder / "config.json").read_bytes())
        return read(family_of(raw), raw)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"cannot read {folder / 'config.json'}: {error!r}") from error
