"""Plug-in: add a tuned adapter's changes to the full model's own blocks."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from offsite.adapter import METHODS
from offsite.api import AlphaFactors
from offsite.bundle import AdapterFacts, EmulatorRecord
from offsite.bundle.changes import Place, relative
from offsite.bundle.head import VALUE
from offsite.bundle.selection import Selection
from offsite.errors import BundleError
from offsite.layers import family

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
    grouped, weights, reach = _by_weight(tensors, record), _weights(model), record.reach()
    # all of them before any is changed: a bias is compared with its module's weight too
    compared = {*grouped, *(place.beside for place in grouped)} & weights.keys()
    own = {place: _norm(weights[place]) for place in compared}
    scale_of = _scales(model, record, alpha, factors)
    added: dict[Place, float] = {}
    for place, parts in grouped.items():
        weight = weights[place]
        there = {key: part.to(weight.device) for key, part in parts.items()}
        # outside the blocks every method sends the change itself
        method = METHODS["Blocks" if place.block is None else facts.method]
        change = partial(method.change, there, row=family(model))
        added[place] = _add(weight, reach[place], change, scale_of(place), dtype or weight.dtype)
        if not math.isfinite(added[place]):
            raise BundleError(f"the adapter's change of {place} is not finite")
    return relative(added, own)


@contextmanager
def trying(
    model: PreTrainedModel,
    tensors: Mapping[str, Tensor],
    facts: AdapterFacts,
    record: EmulatorRecord,
    **scale: Any,
) -> Iterator[dict[Place, float]]:
    """Plug an adapter in for a `with` block, after which the model is bit for bit as before.

    Keeps a copy of the weights that the adapter changes. Arguments are those of `plug_in`.
    """
    weights = _weights(model)
    before = {p: weights[p].detach().clone() for p in _by_weight(tensors, record)}
    try:
        yield plug_in(model, tensors, facts, record, **scale)
    finally:
        with torch.no_grad():
            for place, value in before.items():
                weights[place].copy_(value)


def _scales(
    model: PreTrainedModel, record: EmulatorRecord, alpha: float, factors: AlphaFactors
) -> Callable[[Place], float]:
    row, ends = family(model), {block.full for block in record.blocks if block.end}

    def scale_of(place: Place) -> float:
        if place.block is None:
            return alpha
        group = row.group_of(place.name.rpartition(".")[0])
        return alpha * factors.of(group, end=place.block in ends)

    return scale_of


def _by_weight(
    tensors: Mapping[str, Tensor], record: EmulatorRecord
) -> dict[Place, dict[str, Tensor]]:
    """Group an adapter's tensors by the full model's weight that they change."""
    grouped: dict[Place, dict[str, Tensor]] = defaultdict(dict)
    for wire, tensor in tensors.items():
        name, _, part = wire.rpartition(".")
        if part == VALUE:  # of a new head, which is no change
            continue
        grouped[_place(name, record)][part] = tensor
    return grouped


def _place(name: str, record: EmulatorRecord) -> Place:
    if name in record.outside:
        return Place(None, record.outside[name].tensor)
    _, number, inside = name.split(".", 2)
    return Place(record.blocks[int(number)].full, inside)


def _weights(model: PreTrainedModel) -> dict[Place, nn.Parameter]:
    row, named = family(model), model.named_parameters()
    return {Place(*(row.block_of(name) or (None, name))): weight for name, weight in named}


def _add(
    weight: Tensor,
    selection: Selection,
    change: Callable[[slice], Tensor],
    alpha: float,
    dtype: torch.dtype,
) -> float:
    """Add a change to the selected part of a weight, some rows of it at a time.

    Returns:
        the norm of what that made of the weight.
    """
    total, count = 0.0, len(selection.rows or weight)
    with torch.no_grad():
        for rows in _slices(count, weight):
            at = _at(weight, selection, rows)
            before = weight[at].clone()
            weight[at] = (before.float() + alpha * change(rows)).to(dtype)
            total += _square(weight[at].double() - before.double())
    return math.sqrt(total)


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
