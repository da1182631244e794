"""Sketches of weight matrices. A copy or a slightly changed matrix has nearly the same sketch.

A sketch is a random projection of a matrix to 16 x 16 numbers: rows and columns get random signs,
which are the same for all matrices, and are added up in 16 groups each. The cosine of two sketches
estimates the cosine of the matrices, to about 1/16. Rows and columns are scaled to one length, and
their means taken out, since what all matrices of a kind have in common tells nothing. No torch.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from hashlib import shake_256
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import StringConstraints

Floats = NDArray[np.float32]
Sketch = Annotated[str, StringConstraints(pattern=r"^[0-9]+x[0-9]+ [A-Za-z0-9+/]{342}==$")]
"""The shape of a matrix, and 256 signed bytes in base64."""

SAME = 0.7
"""The least cosine of two sketches of one matrix: a change half as large as it leaves 0.87."""
_GROUPS = 16
_FEWEST = 100
"""A sketch with fewer degrees of freedom might be like another one by chance."""
_FLATTEST = 1e-3
"""The least share that the means leave: below, what is left may be rounding."""
_SPARSEST = 0.15
"""The least share of values in a sketch that matter: an identity has 1/16, random values 1/3."""
_AT_ONCE = 256
"""How many sketches are compared at once, each with all others."""
_CLIP = 4.0
"""In standard deviations."""


class Sketcher:
    """Makes the sketch of one matrix, of which it sees some rows at a time."""

    def __init__(self, rows: int, columns: int) -> None:
        """Begin with a matrix of this shape."""
        self.rows, self.columns = rows, columns
        self._groups = min(_GROUPS, rows), min(_GROUPS, columns)
        self._sums = np.zeros((self._groups[0], columns), np.float32)
        self._ones = np.zeros(self._groups[0], np.float32)
        """What a column of ones would have given."""
        self._done = 0

    def add(self, values: Floats) -> None:
        """Take the next rows."""
        with np.errstate(all="ignore"):  # what is not finite has no sketch
            lengths = np.sqrt(np.einsum("ij,ij->i", values, values))
            signs = _signs("rows", self.rows)[self._done : self._done + len(values)]
            weights = np.divide(signs, lengths, out=np.zeros_like(signs), where=lengths > 0)
            bounds = [*(_starts(self.rows, self._groups[0]) - self._done), len(values)]
            for group in range(self._groups[0]):
                first, last = max(0, bounds[group]), min(len(values), bounds[group + 1])
                if group + 1 == self._groups[0]:
                    last = len(values)
                if first < last:
                    self._sums[group] += weights[first:last] @ values[first:last]
                    self._ones[group] += weights[first:last].sum()
        self._done += len(values)

    def sketch(self) -> Sketch | None:
        """Get the sketch; None: the matrix is too small or too uniform to be known by one."""
        rows, columns = self._groups
        if (rows - 1) * (columns - 1) < _FEWEST or not np.isfinite(self._sums).all():
            return None
        sums = _without(self._sums, self._ones)
        if _energy(sums) <= _FLATTEST * _energy(self._sums):
            return None
        lengths = np.sqrt((sums * sums).sum(0))
        usual = np.sqrt((lengths * lengths).mean())
        scale = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > _FLATTEST * usual)
        scale *= _signs("columns", self.columns)
        starts = _starts(self.columns, columns)
        whole = np.add.reduceat(sums * scale, starts, axis=1)
        grid = _without(whole.T, np.add.reduceat(scale, starts)).T
        if _energy(grid) <= _FLATTEST * _energy(whole) or _effective(grid) < _SPARSEST * grid.size:
            return None
        return f"{self.rows}x{self.columns} {_text(grid)}"


def holders_of(weights: Mapping[int, Iterable[Sketch]]) -> dict[Sketch, set[int]]:
    """Say which blocks hold a matrix, for each sketch."""
    holders: dict[Sketch, set[int]] = {}
    for block, sketches in weights.items():
        for sketch in sketches:
            holders.setdefault(sketch, set()).add(block)
    return holders


class Likeness(NamedTuple):
    """Two sketches of what may be one matrix."""

    asked: Sketch
    known: Sketch
    cosine: float


class Sketches:
    """Sketches that others are compared with."""

    def __init__(self, sketches: Iterable[Sketch]) -> None:
        """Collect them."""
        self._known = _by_shape(sketches)

    def like(self, sketches: Iterable[Sketch], least: float = SAME) -> Iterator[Likeness]:
        """Find, for each of some sketches, those here that are of the same matrix."""
        for shape, (asked, one) in _by_shape(sketches).items():
            known, other = self._known.get(shape, ([], one[:0]))
            for first in range(0, len(asked), _AT_ONCE):
                cosines = one[first : first + _AT_ONCE] @ other.T
                for i, j in zip(*np.nonzero(cosines >= least), strict=True):
                    yield Likeness(asked[first + i], known[j], float(cosines[i, j]))


def _by_shape(sketches: Iterable[Sketch]) -> dict[str, tuple[list[Sketch], Floats]]:
    found: dict[str, list[Sketch]] = {}
    for sketch in sorted(set(sketches)):
        found.setdefault(sketch.partition(" ")[0], []).append(sketch)
    return {shape: (several, _vectors(several)) for shape, several in found.items()}


def _vectors(sketches: list[Sketch]) -> Floats:
    """Turn sketches into vectors of length one."""
    raw = b"".join(b64decode(sketch.partition(" ")[2]) for sketch in sketches)
    vectors = np.frombuffer(raw, np.int8).reshape(len(sketches), -1).astype(np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1)
    return vectors


def _text(grid: Floats) -> str:
    """Write a grid, which may be smaller than 16 x 16, as 256 bytes."""
    deviations = grid / np.sqrt((grid * grid).mean())
    whole = np.zeros(_GROUPS * _GROUPS, np.int8)
    whole[: grid.size] = np.rint(np.clip(deviations, -_CLIP, _CLIP) * (127 / _CLIP)).ravel()
    return b64encode(whole.tobytes()).decode()


def _without(values: Floats, direction: Floats) -> Floats:
    """Take the part along a direction out of each column."""
    length = max(float(direction @ direction), float(np.finfo(np.float32).tiny))
    return values - np.outer(direction, direction @ values / length)


def _energy(values: Floats) -> float:
    return float((values * values).sum())


def _effective(values: Floats) -> float:
    """Count the values that matter: all of them if they are equally large."""
    squares = values * values
    return float(squares.sum() ** 2 / (squares * squares).sum())


def _starts(count: int, groups: int) -> NDArray[np.intp]:
    """Split into groups of nearly one size: the first index of each."""
    return -(-np.arange(groups) * count // groups)


@lru_cache(maxsize=64)
def _signs(axis: str, count: int) -> Floats:
    """Get signs that look random, and are the same everywhere."""
    raw = shake_256(f"offsite sketch of {axis}".encode()).digest(-(-count // 8))
    bits = np.unpackbits(np.frombuffer(raw, np.uint8), count=count)
    return bits.astype(np.float32) * 2 - 1
