"""The best model that can be put together from all emulators of a model that were sent.

It has every block that any of them disclosed, as the full model's own. No attacker holds more: a
block may have been sent healed, distilled, or in part. The blocks that were never sent are healed
as their owner would, with the full model, which no attacker can. So it is an upper bound.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from transformers import PreTrainedModel

from offsite.api import Ends, LayerDrop
from offsite.emulator import Compressed, heal
from offsite.emulator.layer_drop import compress
from offsite.events import Monitor
from offsite.layers import Loaded, blocks, family
from offsite.modality import Batch


class Union(NamedTuple):
    """A model of all blocks that were sent."""

    model: PreTrainedModel
    middle: range
    """The places of its blocks that are not the full model's own."""


def union_of(
    full: Loaded,
    sent: Collection[int],
    batches: Sequence[Batch],
    monitor: Monitor,
    scratch: Path | None = None,
) -> Union:
    """Put together the blocks of a model that were sent.

    Args:
        full: the full model, which does not change.
        sent: its blocks that were sent, the first and the last one among them.
        batches: data to heal with.
        scratch: where `heal` keeps hidden states meanwhile.
    """
    depth = len(blocks(full.model))
    if len(sent) == depth:
        return Union(full.model, range(0))
    made = _compressed(full, sorted(sent), depth)
    if family(full.model).healed_by(full.model.config.to_dict()) is not None:
        heal(full.model, made, batches, monitor, scratch=scratch)
    return Union(made.model, made.middle)


def _compressed(full: Loaded, sent: Sequence[int], depth: int) -> Compressed:
    """Drop the blocks that were not sent."""
    first = min({*range(depth)} - {*sent})
    # healing changes what is between the ends: from the block below the first gap on
    ends = Ends(bottom=max(1, first - 1), top=1)
    kept = LayerDrop(blocks=len(sent) - ends.bottom - ends.top)
    return compress(full.model, ends, kept, sent)
