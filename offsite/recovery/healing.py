"""What healed projections reveal of dropped blocks.

Healing refits the last projection of a kept block to make up for the dropped blocks above it. Who
knows the projection before healing, too, such as from an emulator in which the block is an end,
gets their difference: a linear map that predicts what the dropped blocks add to the hidden state.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from offsite.emulator.heal import output_scale, watching_projection
from offsite.layers import Loaded, blocks, family, inference, run, trace
from offsite.modality import Batch


@dataclass(frozen=True)
class Gap:
    """Dropped blocks between two that an emulator kept."""

    below: int
    """The full model's block whose projection was healed."""
    dropped: range
    """The full model's blocks that are missing."""
    explained: float
    """Share of what they add to the hidden state that the change of the projection predicts: 1 is
    all, 0 is as good as no prediction, and below 0 is worse."""


def explained(
    full: Loaded, emulator: Loaded, kept: Sequence[int], batches: Sequence[Batch]
) -> list[Gap]:
    """Compare what dropped blocks add to hidden states with what healing reveals of it.

    Both are computed on the full model's own hidden states. As in healing, each position counts by
    its error relative to its own size.

    Args:
        kept: the full model's block behind each block of the emulator.
        batches: data that healing did not see.

    Returns:
        Each gap, the lowest first; none if the family cannot be healed.
    """
    name = family(full.model).healed_by(full.model.config.to_dict())
    if name is None:
        return []
    found = list[Gap]()
    with inference():
        for place, (below, above) in enumerate(pairwise(kept)):
            if above == below + 1:
                continue
            healed = blocks(emulator.model)[place].get_submodule(name)
            sums = torch.zeros(2, dtype=torch.float64)
            for batch in batches:
                sums += _errors(full, name, healed, range(below, above), batch).cpu()
            missed, whole = sums.tolist()
            found.append(Gap(below, range(below + 1, above), 1 - missed / whole))
    return found


def _errors(full: Loaded, name: str, healed: nn.Module, span: range, batch: Batch) -> Tensor:
    """Sum the squares of what a prediction misses of a contribution, and of the contribution."""
    model, traced = full.model, trace(full.model, batch.inputs)
    stack, calls = blocks(model), traced.calls
    below = stack[span.start]
    projection = below.get_submodule(name)
    hidden = run(stack[: span.start], traced.hidden, calls[: span.start])
    with watching_projection(projection) as seen:
        hidden = run([below], hidden, [calls[span.start]])
    after = run(stack[span.start + 1 : span.stop], hidden, calls[span.start + 1 : span.stop])
    (read, output), scale = seen[0], output_scale(below, model)
    change = (healed(read) - output).reshape(hidden.shape).float()
    predicted = change if scale is None else change * scale
    added, size = (after - hidden).float(), after.float().pow(2).mean(-1, keepdim=True)
    parts = [part.pow(2) / size.clamp_min(1e-12) for part in (added - predicted, added)]
    return torch.stack([part[batch.mask].double().sum() for part in parts])
