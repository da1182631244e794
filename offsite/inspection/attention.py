"""A sign in an emulator's attention: heads that copy from one place, or from a fixed distance.

A trap has to bring what it stores to where it is stored. Honest models look at the previous token
or the next patch everywhere, too, but not further; and they choose by what stands there.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from offsite.inspection.signs import Measure
from offsite.layers import Loaded, attention_maps
from offsite.modality import Public

_EXAMPLES = 2


def measure_attention(loaded: Loaded, public: Sequence[Public]) -> Iterator[Measure]:
    """Measure, for each block, the largest attention of a head to one way in every kind."""
    kinds = [_by_route(loaded, each) for each in public]
    for place, found in enumerate(zip(*kinds, strict=True)):
        yield Measure("offset", f"block {place}", float(torch.stack(found).amin(0).max()))


def _by_route(loaded: Loaded, public: Public) -> list[Tensor]:
    inputs = {name: tensor[:_EXAMPLES] for name, tensor in public.batch.inputs.items()}

    def averages(maps: Tensor) -> Tensor:
        return torch.cat([_averages(maps, routes) for routes in public.routes], dim=1)

    return attention_maps(loaded.model, inputs, averages)


def _averages(maps: Tensor, routes: Tensor) -> Tensor:
    """Average the attention of each head along each way: (B, H, T, T) to (H, ways)."""
    known, count = routes >= 0, max(1, int(routes.max()) + 1)
    ways, mean = routes[known], maps.float().mean(0)[:, known]
    sums = mean.new_zeros(len(mean), count).index_add(1, ways, mean)
    return sums / torch.bincount(ways, minlength=count).clamp(min=1)
