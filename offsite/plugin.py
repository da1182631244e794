"""Plug-in: add a tuned adapter's changes to the full model's own blocks."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import torch
from torch import Tensor
from transformers import PreTrainedModel

from offsite.adapter import METHODS
from offsite.bundle import AdapterFacts, EmulatorRecord
from offsite.bundle.changes import Place, relative
from offsite.errors import BundleError
from offsite.layers import blocks, family

_PIECE = 1 << 22
"""How many numbers of a weight are added to, or measured, together."""


def plug_in(
    model: PreTrainedModel,
    tensors: Mapping[str, Tensor],
    facts: AdapterFacts,
    record: EmulatorRecord,
    *,
    alpha: float = 1.0,
    dtype: torch.dtype | None = None,
) -> dict[Place, float]:
    """Add `alpha` times an adapter's changes to the full model, in place, and measure them.

    The sum is taken in float32 and rounded once. A change is what became of the weight then, not
    what the factors of the adapter promise: those may cancel, or be lost in rounding.

    Args:
        tensors: the adapter as it was sent, checked against `record`.
        alpha: scale of the change; less than 1 keeps part of what the adapter learnt about the
            emulator alone out of the model (WiSE-FT, arXiv 2109.01903).
        dtype: what to round to, which the model is stored in; absent: what it has in memory.

    Returns:
        ‖after - before‖ / ‖before‖ of each weight, in Frobenius norms, as `changes.relative`.

    Raises:
        BundleError: a sum is too large for that dtype.
    """
    row, change = family(model), METHODS[facts.method].change
    targets = [dict(block.named_parameters()) for block in blocks(model)]
    grouped = {(record.blocks[i].full, n): each for (i, n), each in _by_weight(tensors).items()}
    # all of them before any is changed: a bias is compared with its module's weight too
    own = {
        (full, name): _norm(targets[full][name])
        for full in {full for full, _ in grouped}
        for name in targets[full]
    }
    added: dict[Place, float] = {}
    for (full, name), parts in grouped.items():
        weight = targets[full][name]
        there = {key: part.to(weight.device) for key, part in parts.items()}
        added[full, name] = _add(
            weight, partial(change, there, row=row), alpha, dtype or weight.dtype
        )
        if not math.isfinite(added[full, name]):
            raise BundleError(f"the adapter's change of {name} in block {full} is not finite")
    return relative(added, own)


def _add(
    weight: Tensor, change: Callable[[slice], Tensor], alpha: float, dtype: torch.dtype
) -> float:
    """Add a change to a weight, some rows at a time; give the norm of what that made of it."""
    total = 0.0
    with torch.no_grad():
        for rows in _rows(weight):
            before = weight[rows].clone()
            weight[rows] = (before.float() + alpha * change(rows)).to(dtype)
            total += _square(weight[rows].double() - before.double())
    return math.sqrt(total)


def _norm(weight: Tensor) -> float:
    return math.sqrt(sum(_square(weight.detach()[rows].double()) for rows in _rows(weight)))


def _square(values: Tensor) -> float:
    return float(values.square().sum())


def _rows(weight: Tensor) -> Iterator[slice]:
    count = len(weight)
    step = max(1, _PIECE * count // weight.numel())
    return (slice(start, start + step) for start in range(0, count, step))


def _by_weight(tensors: Mapping[str, Tensor]) -> dict[tuple[int, str], dict[str, Tensor]]:
    grouped: dict[tuple[int, str], dict[str, Tensor]] = defaultdict(dict)
    for wire, tensor in tensors.items():
        _, place, rest = wire.split(".", 2)
        name, _, part = rest.rpartition(".")
        grouped[int(place), name][part] = tensor
    return grouped
