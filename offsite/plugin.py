"""Plug-in: add a tuned adapter's changes to the full model's own blocks."""

import math
from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor
from transformers import PreTrainedModel

from offsite.adapter import METHODS
from offsite.bundle import AdapterFacts, EmulatorRecord
from offsite.errors import BundleError
from offsite.layers import blocks, family


def plug_in(
    model: PreTrainedModel,
    tensors: Mapping[str, Tensor],
    facts: AdapterFacts,
    record: EmulatorRecord,
    *,
    alpha: float = 1.0,
    dtype: torch.dtype | None = None,
) -> None:
    """Add `alpha` times an adapter's changes to the full model, in place.

    The sum is taken in float32 and rounded once.

    Args:
        tensors: the adapter as it was sent, checked against `record`.
        alpha: scale of the change; less than 1 keeps part of what the adapter learnt about the
            emulator alone out of the model (WiSE-FT, arXiv 2109.01903).
        dtype: what to round to, which the model is stored in; absent: what it has in memory.

    Raises:
        BundleError: a sum is too large for that dtype.
    """
    row, merge = family(model), METHODS[facts.method].merge
    targets = [dict(block.named_parameters()) for block in blocks(model)]
    for (place, name), parts in _by_weight(tensors).items():
        weight = targets[record.blocks[place].full][name]
        change = merge(weight, {key: part.to(weight.device) for key, part in parts.items()}, row)
        with torch.no_grad():
            weight.copy_((weight.float() + alpha * change).to(dtype or weight.dtype))
        if not weight.isfinite().all():
            raise BundleError(f"the adapter's change of {name} in its block {place} is not finite")


def relative_changes(
    model: PreTrainedModel,
    tensors: Mapping[str, Tensor],
    facts: AdapterFacts,
    record: EmulatorRecord,
    alpha: float = 1.0,
) -> dict[tuple[int, str], float]:
    """Compute how large each change is, relative to the weight that it is added to.

    A bias, which may be zero, is compared with the weight and the bias of its module together. What
    is compared with zeros is infinite.

    Args:
        tensors: the adapter as it was sent, checked against `record`.
        alpha: scale of the change.

    Returns:
        ‖alpha ΔW‖ / ‖W‖, in Frobenius norms, by the full model's block and the name in it.
    """
    method, found = METHODS[facts.method], dict[tuple[int, str], float]()
    targets = [dict(block.named_parameters()) for block in blocks(model)]
    for (place, name), parts in _by_weight(tensors).items():
        full = record.blocks[place].full
        change, own = alpha * method.size(parts), _size(targets[full], name)
        found[full, name] = change / own if own else math.inf if change else 0.0
    return found


def _size(block: Mapping[str, Tensor], name: str) -> float:
    module, _, kind = name.rpartition(".")
    names = [f"{module}.weight", name] if kind == "bias" else [name]
    return math.hypot(*(float(block[n].detach().double().norm()) for n in names if n in block))


def _by_weight(tensors: Mapping[str, Tensor]) -> dict[tuple[int, str], dict[str, Tensor]]:
    grouped: dict[tuple[int, str], dict[str, Tensor]] = defaultdict(dict)
    for wire, tensor in tensors.items():
        _, place, rest = wire.split(".", 2)
        name, _, part = rest.rpartition(".")
        grouped[int(place), name][part] = tensor
    return grouped
