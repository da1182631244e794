"""Plug-in: add a tuned adapter's changes to the full model's own blocks."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from offsite.adapter import METHODS
from offsite.api import AlphaFactors
from offsite.bundle import AdapterFacts, EmulatorRecord
from offsite.bundle.changes import Place, relative
from offsite.bundle.head import VALUE
from offsite.bundle.selection import Selection
from offsite.errors import BundleError
from offsite.families import Family
from offsite.layers import family, tensors_of
from offsite.layers.tensors import Changed, InMemory

UNSCALED = AlphaFactors()
_PIECE = 1 << 22
"""How many numbers of a weight are added to, or measured, together."""


def plug_in(
    model: PreTrainedModel,
    tensors: Mapping[str, Tensor],
    facts: AdapterFacts,
    record: EmulatorRecord,
    *,
    alpha: float = 1.0,
    factors: AlphaFactors = UNSCALED,
    dtype: torch.dtype | None = None,
) -> dict[Place, float]:
    """Add `alpha` times an adapter's changes to the full model, in place, and measure them.

    A model that was opened lazily computes the sums whenever it reads its weights; none is kept.

    Where a tensor of the emulator was some rows and columns of the full one, the change is added
    at those (`BlockRecord.index`).

    The sum is taken in float32 and rounded once. A change is what became of the weight then, not
    what the factors of the adapter promise: those may cancel, or be lost in rounding.

    Args:
        tensors: the adapter as it was sent, checked against `record`. A head that it brings is in
            the model already (`heads.bring`), and takes no part: neither `alpha` nor a norm of its
            change means anything for it.
        alpha: scale of the change; less than 1 keeps part of what the adapter learnt about the
            emulator alone out of the model (WiSE-FT, arXiv 2109.01903).
        factors: of `alpha`, in the blocks. Outside them nothing but a head changes, as a whole.
        dtype: what to round to, which the model is stored in; absent: what it has in memory.

    Returns:
        ‖after - before‖ / ‖before‖ of each weight, in Frobenius norms, as `changes.relative`.

    Raises:
        BundleError: a sum is too large for that dtype.
    """
    scaled = _Scaled(alpha, factors, dtype)
    return _add(tensors_of(model), _changes(model, tensors, facts, record, scaled), model)


@contextmanager
def trying(
    model: PreTrainedModel,
    tensors: Mapping[str, Tensor],
    facts: AdapterFacts,
    record: EmulatorRecord,
    *,
    alpha: float = 1.0,
    factors: AlphaFactors = UNSCALED,
    dtype: torch.dtype | None = None,
) -> Iterator[dict[Place, float]]:
    """Plug an adapter in for a `with` block, after which the model is bit for bit as before.

    A loaded model keeps the weights that the adapter changes. Arguments are those of `plug_in`.
    """
    weights = tensors_of(model)
    changes = _changes(model, tensors, facts, record, _Scaled(alpha, factors, dtype))
    try:
        yield _add(weights, changes, model)
    finally:
        for change in changes.values():
            with suppress(KeyError):  # of an adapter that failed, some were not added
                del weights[change.name]


@dataclass(frozen=True)
class _Scaled:
    """How much of an adapter's changes is added."""

    alpha: float
    factors: AlphaFactors
    dtype: torch.dtype | None


@dataclass(frozen=True)
class _Change:
    """What is added to one weight of the full model."""

    name: str
    """The weight's name in the model's `state_dict`."""
    tensors: Mapping[str, Tensor]
    parts: Mapping[str, str]
    """The names in `tensors` of what the change is made of, by what they are to the method."""
    method: str
    family: Family
    selection: Selection
    alpha: float
    dtype: torch.dtype | None
    device: torch.device

    def __call__(self, before: Tensor) -> Tensor:
        """Compute a weight with the change, some rows at a time."""
        after = before.detach().to(self.device, copy=True)
        parts = {part: self.tensors[wire].to(self.device) for part, wire in self.parts.items()}
        with torch.no_grad():
            for at, rows in _pieces(after, self.selection):
                change = METHODS[self.method].change(parts, rows, self.family)
                after[at] = (after[at].float() + self.alpha * change).to(self.dtype or after.dtype)
        return after

    def size(self, before: Tensor, after: Tensor) -> float:
        """Compute the norm of what became of a weight."""
        pieces = [at for at, _ in _pieces(after, self.selection)]
        return math.sqrt(sum(_square(after[at].double() - before[at].double()) for at in pieces))


def _add(
    weights: InMemory | Changed, changes: Mapping[Place, _Change], model: PreTrainedModel
) -> dict[Place, float]:
    """Add changes to the weights of a model, and measure them."""
    row, own, added = family(model), dict[Place, float](), dict[Place, float]()
    for place in {place.beside for place in changes} - changes.keys():
        # a bias is compared with its module's weight too
        if (name := _name(place, row)) in weights:
            own[place] = _norm(weights[name].to(model.device))
    for place, change in changes.items():
        before = weights[change.name].to(model.device)
        own[place] = _norm(before)
        weights.derive(change.name, change)
        added[place] = change.size(before, weights[change.name].to(model.device))
        if not math.isfinite(added[place]):
            raise BundleError(f"the adapter's change of {place} is not finite")
    return relative(added, own)


def _changes(
    model: PreTrainedModel,
    tensors: Mapping[str, Tensor],
    facts: AdapterFacts,
    record: EmulatorRecord,
    scaled: _Scaled,
) -> dict[Place, _Change]:
    row, reach = family(model), record.reach()
    ends = {block.full for block in record.blocks if block.end}

    def alpha_of(place: Place) -> float:
        if place.block is None:
            return scaled.alpha
        group = row.group_of(place.name.rpartition(".")[0])
        return scaled.alpha * scaled.factors.of(group, end=place.block in ends)

    return {
        place: _Change(
            name=_name(place, row),
            tensors=tensors,
            parts=parts,
            # outside the blocks every method sends the change itself
            method="Blocks" if place.block is None else facts.method,
            family=row,
            selection=reach[place],
            alpha=alpha_of(place),
            dtype=scaled.dtype,
            device=model.device,
        )
        for place, parts in _by_weight(tensors, record).items()
    }


def _by_weight(names: Iterable[str], record: EmulatorRecord) -> dict[Place, dict[str, str]]:
    """Group the names of an adapter's tensors by the full model's weight that they change."""
    grouped: dict[Place, dict[str, str]] = defaultdict(dict)
    for wire in names:
        name, _, part = wire.rpartition(".")
        if part == VALUE:  # of a new head, which is no change
            continue
        grouped[_place(name, record)][part] = wire
    return grouped


def _place(name: str, record: EmulatorRecord) -> Place:
    if name in record.outside:
        return Place(None, record.outside[name].tensor)
    _, number, inside = name.split(".", 2)
    return Place(record.blocks[int(number)].full, inside)


def _name(place: Place, row: Family) -> str:
    return place.name if place.block is None else row.tensor_name(place.block, place.name)


def _pieces(weight: Tensor, selection: Selection) -> Iterator[tuple[Any, slice]]:
    """Cut the selected part of a weight: where each piece is in it, and its rows in the part."""
    count = len(selection.rows or weight)
    return ((_at(weight, selection, rows), rows) for rows in _slices(count, weight))


def _at(weight: Tensor, selection: Selection, rows: slice) -> tuple[slice | Tensor, ...]:
    """Index the places in a weight of some rows of the part that is selected of it."""
    first: slice | Tensor = rows
    if selection.rows is not None:
        first = torch.tensor(selection.rows[rows], device=weight.device)
    if selection.columns is None:
        return (first,)
    columns = torch.tensor(selection.columns, device=weight.device)
    return (first, columns) if isinstance(first, slice) else (first[:, None], columns)


def _norm(weight: Tensor) -> float:
    slices = _slices(len(weight), weight)
    return math.sqrt(sum(_square(weight.detach()[rows].double()) for rows in slices))


def _square(values: Tensor) -> float:
    return float(values.square().sum())


def _slices(count: int, weight: Tensor) -> Iterator[slice]:
    """Cut so many rows of a weight into pieces of about `_PIECE` numbers."""
    step = max(1, _PIECE * len(weight) // weight.numel())
    return (slice(start, min(start + step, count)) for start in range(0, count, step))
