"""Which matrix of the full model a found one was made from, and what was added to it since.

It is known by its sketch (`sketch`), so neither its name nor its place matters, and it may be
transposed. A matrix that is too small for a sketch is compared by its values. No torch.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from offsite.bundle.record import EmulatorRecord
from offsite.bundle.selection import Selection
from offsite.bundle.sketch import Floats, Sketch, Sketcher, Sketches
from offsite.bundle.watermark import is_marked
from offsite.bundle.weights import StoredTensor, damage_reported, stored_blocks

_ALIKE = 0.4
"""The least cosine. A wrong match costs evidence, but makes no false alarm."""
_CLIP = 0.5
"""Bound of a change, in root mean squares of the matrix: no outlier outweighs the rest."""
_ROUNDS = 3


@dataclass(frozen=True)
class Original:
    """A matrix of the full model, or the part of it that an emulator holds."""

    tensor: StoredTensor
    selection: Selection

    def values(self) -> Floats:
        """Read it."""
        values = self.tensor.matrix()
        if self.selection.rows is not None:
            values = values[list(self.selection.rows)]
        if self.selection.columns is not None:
            values = values[:, list(self.selection.columns)]
        return values


@dataclass(frozen=True)
class Originals:
    """The matrices of which emulators were made."""

    holders: Mapping[Original, Mapping[int, tuple[int, str]]]
    """The emulators that hold each, by number: the full model's block, and the name in it."""
    sketched: Mapping[Sketch, Original]
    small: Mapping[tuple[int, ...], Sequence[Original]]
    """Those without a sketch, by shape."""

    @classmethod
    def of(cls, model: Path, records: Sequence[EmulatorRecord]) -> "Originals":
        """Read the full model.

        Raises:
            ModelError: It cannot be read.
        """
        with damage_reported(model):
            full = stored_blocks(model)
            holders = _holders(full, records)
            sketched = dict[Sketch, Original]()
            small = defaultdict[tuple[int, ...], list[Original]](list)
            for each in holders:
                values = each.values()
                if sketch := _sketch(values):
                    sketched[sketch] = each
                else:
                    small[values.shape].append(each)
        return cls(holders, sketched, small)

    def like(self, values: Floats) -> tuple[Original | None, Floats]:
        """Find the original of a matrix, or of its transpose; give the matrix as the original lies.

        None: it is like none of them.
        """
        for turned in (values, np.ascontiguousarray(values.T)):
            if (sketch := _sketch(turned)) is not None:
                alike = list(Sketches(self.sketched).like([sketch], least=_ALIKE))
                if alike:
                    return self.sketched[max(alike, key=lambda a: a.cosine).known], turned
            elif same := self.small.get(turned.shape):
                nearest = max(same, key=lambda each: _cosine(turned, each.values()))
                if _cosine(turned, nearest.values()) >= _ALIKE:
                    return nearest, turned
        return None, values


def _holders(
    full: Sequence[Mapping[str, StoredTensor]], records: Sequence[EmulatorRecord]
) -> dict[Original, dict[int, tuple[int, str]]]:
    holders = defaultdict[Original, dict[int, tuple[int, str]]](dict)
    for i, record in enumerate(records):
        for block in record.blocks:
            if block.full >= len(full):
                continue
            for name, shape in block.tensors.items():
                selection, tensor = block.index.get(name, Selection()), full[block.full].get(name)
                # of a model of another architecture or size nothing fits
                if is_marked(shape) and tensor and selection.shape(tensor.shape) == shape:
                    holders[Original(tensor, selection)][i] = block.full, name
    return dict(holders)


def remainder(found: Floats, original: Floats) -> tuple[Floats, float]:
    """Compute what was added to a matrix; its rows and columns may have been scaled.

    Returns:
        The difference, bounded, and the root mean square of the original.
    """
    unit = _unit(original)
    if not unit:
        return np.zeros_like(original), 1.0
    values = _finite(found)
    # a weight that was pruned says nothing, and would bias the factors
    original = np.where(values == 0, 0, original)
    for _ in range(_ROUNDS):
        for axis in (1, 0):
            values = values * _fit(values, original, axis)
    return np.clip(_finite(values - original), -_CLIP * unit, _CLIP * unit), unit


def standardized(found: Floats) -> tuple[Floats, float]:
    """Bound a matrix of which the original is not known; returns it and its root mean square."""
    values = _finite(found)
    unit = _unit(values)
    return np.clip(values, -3 * unit, 3 * unit), unit or 1.0


def _fit(values: Floats, original: Floats, axis: int) -> Floats:
    """Compute the factor for each row or column that brings a matrix closest to its original."""
    subscripts = "ij,ij->i" if axis == 1 else "ij,ij->j"
    dot = partial(np.einsum, subscripts)
    with np.errstate(all="ignore"):
        factors = dot(original, original) / dot(values, original)
    factors = np.where(np.isfinite(factors), factors, 1).astype(np.float32)
    return factors[:, None] if axis == 1 else factors


def _unit(values: Floats) -> float:
    return float(np.sqrt(np.square(values, dtype=np.float64).mean())) if values.size else 0.0


def _finite(values: Floats) -> Floats:
    return np.nan_to_num(values, nan=0, posinf=0, neginf=0)


def _sketch(values: Floats) -> Sketch | None:
    sketcher = Sketcher(*values.shape)
    sketcher.add(values)
    return sketcher.sketch()


def _cosine(one: Floats, other: Floats) -> float:
    norm = float(np.linalg.norm(one)) * float(np.linalg.norm(other))
    return float(np.vdot(one, other)) / norm if norm else 0.0
