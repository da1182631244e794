"""A sign in an emulator's attention: heads that copy what stands at a fixed distance.

A trap has to bring the text before a token to where it is stored. Honest models look at the
previous token everywhere, too, but not two or more tokens back.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from offsite.inspection.signs import Measure
from offsite.layers import Loaded, attention_maps
from offsite.modality import Batch

_OFFSETS = range(2, 17)
_EXAMPLES = 2


def measure_attention(loaded: Loaded, batches: Mapping[str, Batch]) -> Iterator[Measure]:
    """Measure, for each block, the largest attention of a head to one offset in every text."""
    texts = [_by_offset(loaded, batch) for batch in batches.values()]
    for place, found in enumerate(zip(*texts, strict=True)):
        yield Measure("offset", f"block {place}", float(torch.stack(found).amin(0).max()))


def _by_offset(loaded: Loaded, batch: Batch) -> list[Tensor]:
    inputs = {name: tensor[:_EXAMPLES] for name, tensor in batch.inputs.items()}
    return [_averages(maps) for maps in attention_maps(loaded.model, inputs)]


def _averages(maps: Tensor) -> Tensor:
    """Average the attention of each head to each offset: (B, H, T, T) to (H, offsets)."""
    length = maps.shape[-1]
    # a query that is too early for an offset tells nothing of it
    offsets = [offset for offset in _OFFSETS if 2 * offset <= length]
    if not offsets:
        return maps.new_zeros(maps.shape[1], 1)
    means = [maps.diagonal(-offset, -2, -1).float().mean((0, 2)) for offset in offsets]
    return torch.stack(means, dim=1)
