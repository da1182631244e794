"""Finds out whose emulator a model was, by the watermarks of those that were sent. No torch.

Each matrix that is found is compared with the full model's matrix that it is most like, whatever
its name and place. What is left of it without that is correlated with the mark of each candidate.

Without the mark the correlation is a sum of random signs with known weights: every secret would
have been as likely, and nothing that is done to the found weights here depends on one. So it is
above t standard deviations with a probability of at most exp(-t²/2), whatever the weights are
(Hoeffding 1963, theorem 2). The p-value is this bound times the number of candidates.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from offsite.bundle.alignment import Originals, remainder, standardized
from offsite.bundle.record import EmulatorRecord
from offsite.bundle.sketch import Floats
from offsite.bundle.watermark import direction, is_marked
from offsite.bundle.weights import (
    StoredTensor,
    damage_reported,
    named_tensors,
    stored,
    weight_files,
)
from offsite.errors import ModelError

SURE = 1e-6
"""The largest p-value with which an emulator is named."""
_ROWS = 512
"""How many rows of a mark are computed together."""


@dataclass(frozen=True)
class Candidate:
    """An emulator that was sent, and the secret of its mark."""

    record: EmulatorRecord
    secret: bytes


@dataclass(frozen=True)
class Traced:
    """What a found model says of one candidate."""

    record: EmulatorRecord
    matrices: int
    """How many of the emulator's matrices were found, of which its mark can be in."""
    deviations: float
    """The correlation with the mark, in standard deviations under the null hypothesis."""
    share: float
    """How much of the mark is left: 1 all of it, 0.5 as in the mean of two emulators."""
    log10_p: float
    """Logarithm to base 10 of the p-value, corrected for the number of candidates."""

    @property
    def is_named(self) -> bool:
        """Whether the found model was made from this emulator."""
        return self.log10_p <= math.log10(SURE)


@dataclass
class _Sum:
    """The correlation of one mark, summed up over the matrices."""

    total: float = 0.0
    squares: dict[tuple[int, str], float] = field(default_factory=lambda: defaultdict(float))
    """The norm of the weights of the signs, by matrix of the emulator."""
    shares: list[float] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)


def trace(
    found: Path, candidates: Sequence[Candidate], model: Path | None
) -> tuple[int, list[Traced]]:
    """Look for the marks of emulators in a model.

    Args:
        found: A folder with safetensors files. With `model`, tensors may have any name.
        model: The full model; None: only a model with its family's names can be compared, and
            less surely.

    Returns:
        The number of matrices that were compared, and the candidates, the likeliest first.

    Raises:
        ModelError: A model cannot be read; without `model`, `found` needs a config, too.
    """
    if not any(path.is_file() for path in weight_files(found)):
        raise ModelError(f"{found} has no *.safetensors files; convert the model's weights to them")
    if model is None and not (found / "config.json").exists():
        raise ModelError(
            f"{found} has no config.json, which tells the names of its tensors; set --model to "
            "your full model, and none is needed"
        )
    sums, compared = [_Sum() for _ in candidates], 0
    pairs = _named_pairs(found, candidates) if model is None else _pairs(found, candidates, model)
    for rest, unit, holders in pairs:
        compared += 1
        for i, place in holders.items():
            _correlate(sums[i], candidates[i], rest, unit, place)
    traced = [_traced(c, s, len(candidates)) for c, s in zip(candidates, sums, strict=True)]
    return compared, sorted(traced, key=lambda each: -each.deviations)


Holders = Mapping[int, tuple[int, str]]
"""The candidates that hold a matrix, by number: the full model's block, and the name in it."""


def _pairs(
    found: Path, candidates: Sequence[Candidate], model: Path
) -> Iterator[tuple[Floats, float, Holders]]:
    """Align each found matrix with the full model's, and give what is left, in its units."""
    originals = Originals.of(model, [each.record for each in candidates])
    for tensor in _matrices(found):
        original, values = originals.like(tensor.matrix())
        if original is not None:
            yield *remainder(values, original.values()), originals.holders[original]


def _matrices(found: Path) -> Iterator[StoredTensor]:
    with damage_reported(found):
        for path in weight_files(found):
            for _, tensor in stored(path):
                if is_marked(tensor.shape):
                    yield tensor


def _named_pairs(
    found: Path, candidates: Sequence[Candidate]
) -> Iterator[tuple[Floats, float, Holders]]:
    """Find the matrices of each emulator by name; what they were before stays in as noise."""
    for place, name, tensor in named_tensors(found):
        holders = {
            i: (each.record.blocks[place].full, name)
            for i, each in enumerate(candidates)
            if place < len(each.record.blocks)
            and each.record.blocks[place].tensors.get(name) == tensor.shape
            and is_marked(tensor.shape)
        }
        if holders:
            yield (*standardized(tensor.matrix()), holders)


def _correlate(
    found: _Sum, candidate: Candidate, rest: Floats, unit: float, place: tuple[int, str]
) -> None:
    """Add one matrix, by the matched filter: the noisier it is, the less it counts."""
    energy = _dot(rest, rest)
    if not energy:
        return
    mark = candidate.record.watermark
    assert mark is not None
    product = 0.0
    for first in range(0, len(rest), _ROWS):
        part = rest[first : first + _ROWS]
        rows = range(first, first + len(part))
        signs = direction(candidate.secret, *place, rows, rest.shape[1])
        product += _dot(part, signs.astype(np.float32))
    weight = unit * rest.size / energy
    found.total += weight * product
    # one mark twice, as in a block that was copied, is no second look at chance
    found.squares[place] += weight * math.sqrt(energy)
    found.shares.append(product / (rest.size * unit * mark.strength))
    found.sizes.append(rest.size)


def _dot(one: Floats, other: Floats) -> float:
    return float(np.einsum("ij,ij->i", one, other).sum(dtype=np.float64))


def _traced(candidate: Candidate, found: _Sum, count: int) -> Traced:
    norm = math.sqrt(sum(each * each for each in found.squares.values()))
    deviations = found.total / norm if norm else 0.0
    bound = -(max(0.0, deviations) ** 2) / 2 / math.log(10)
    share = float(np.average(found.shares, weights=found.sizes)) if found.shares else 0.0
    return Traced(
        candidate.record,
        matrices=len(found.squares),
        deviations=deviations,
        share=share,
        log10_p=min(0.0, bound + math.log10(count)),
    )
