"""The classification head that an adapter may bring: its record, and the config of its model.

A head that a model has is changed like any other tensor. A new one replaces it, or is the first of
a model without a head: the adapter holds its values, and the names of its classes. No torch.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from safetensors import safe_open
from safetensors.numpy import save

from offsite.bundle.numbers import encode
from offsite.bundle.sketch import Floats
from offsite.bundle.weights import StoredTensor
from offsite.families import Family, Linear, Shape, family_of
from offsite.labels import MAX_LABELS
from offsite.wire import Part

HEAD = "head"
"""The head's name on the wire."""
VALUE = "value"
"""The part of a tensor that holds its values, not its change."""
LARGEST_VALUE = 1e4
"""Largest number of a new head, so that every dtype of a model can hold it."""
_KINDS = ("weight", "bias")


class HeadRecord(Part):
    """The classification head of an emulator's model: what a new one has to be like."""

    module: str = Field(min_length=1, max_length=300)
    """Its name in the full model."""
    features: int = Field(ge=1)
    """How many numbers it reads."""
    labels: tuple[str, ...] = ()
    """The classes of the model's own head, in the order of its outputs; empty: it has none."""
    max_labels: int = Field(MAX_LABELS, ge=2)
    """How many classes a new one may have."""

    def shapes(self, classes: int) -> dict[str, Shape]:
        """List the tensors of a new head, by their names on the wire."""
        sizes: tuple[Shape, Shape] = ((classes, self.features), (classes,))
        return {f"{HEAD}.{k}.{VALUE}": size for k, size in zip(_KINDS, sizes, strict=True)}


def head_of(row: Family, config: Mapping[str, Any]) -> HeadRecord | None:
    """Describe the head of a model with this config; None: its family has none."""
    path = row.heads.get(HEAD)
    module = next((m for m in row.outer if isinstance(m, Linear) and m.name == path), None)
    if path is None or module is None:
        return None
    features = row.dims(row.complete(config))[module.in_]
    return HeadRecord(module=path, features=features, labels=labels_of(row, config))


def labels_of(row: Family, config: Mapping[str, Any]) -> tuple[str, ...]:
    """List the classes of a model's own head, in the order of its outputs."""
    shape = next((s for name, (_, s) in row.head_tensors(config).items() if HEAD in name), (0,))
    named = {int(number): str(name) for number, name in (config.get("id2label") or {}).items()}
    return tuple(named.get(number, f"LABEL_{number}") for number in range(shape[0]))


def labelled(config: Mapping[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    """Copy a model's config.json for a head of other classes; a bare model becomes a classifier."""
    kept = {key: value for key, value in config.items() if key != "num_labels"}
    return {**kept, "architectures": [family_of(config).architecture], **named_classes(labels, str)}


def named_classes(
    labels: Sequence[str], number: Callable[[int], int | str] = int
) -> dict[str, dict[Any, Any]]:
    """Return the keys of a config that name the classes of a head.

    Args:
        number: Converts the number of a class to a key: JSON has strings alone.
    """
    return {
        "id2label": {number(place): name for place, name in enumerate(labels)},
        "label2id": {name: place for place, name in enumerate(labels)},
    }


@dataclass(frozen=True)
class NewHead:
    """The head that an adapter brought."""

    labels: tuple[str, ...]
    values: Mapping[str, Floats]
    """`weight` (N, F) and `bias` (N,), in float32."""

    @classmethod
    def of_adapter(cls, path: Path, labels: tuple[str, ...]) -> "NewHead":
        """Read it from the file of an adapter that passed its checks."""
        with safe_open(path, "numpy") as file:
            return cls(labels, {k: file.get_tensor(f"{HEAD}.{k}.{VALUE}") for k in _KINDS})

    @classmethod
    def read(cls, path: Path) -> "NewHead":
        """Read what `content` was written to."""
        with safe_open(path, "numpy") as file:
            labels = tuple(json.loads(file.metadata()["labels"]))
            return cls(labels, {k: file.get_tensor(k) for k in _KINDS})

    @property
    def content(self) -> bytes:
        """The head as a file."""
        return save(dict(self.values), {"labels": json.dumps(self.labels)})

    def is_in(self, tensor: StoredTensor, kind: str) -> bool:
        """Return whether a stored tensor is this head's, rounded to its dtype.

        Args:
            kind: `weight` or `bias`.
        """
        values = self.values[kind]
        wanted = encode(np.ascontiguousarray(values), tensor.dtype)
        return tensor.shape == values.shape and b"".join(tensor.pieces()) == wanted
