"""Noise and samples from the operating system's randomness, which no seed repeats.

The job's seed is no secret: the author of the job chooses it, and whoever knows it could subtract
the noise. So nothing here takes one, and a resumed run never draws the same noise again.
"""

import os

import numpy as np
import torch
from torch import Tensor

_BLOCK = 1 << 20
"""How many values are made at once: bounds the memory."""
_SUMMED = 4
"""Gaussians in one value: 2n, with n = 2 as in Opacus' secure mode."""


def gaussian(shape: torch.Size, deviation: float, where: torch.device) -> Tensor:
    """Draw independent Gaussian noise in float64, for one use.

    Each value is the sum of four Gaussians, divided by two. From one Gaussian in floating point,
    its lowest bits can tell which value it was added to (Mironov 2012; Jin et al. 2021, arXiv
    2112.05307). From a sum they cannot (Holohan and Braghin 2021, arXiv 2107.10138, section 5.1).

    Args:
        deviation: Standard deviation.
    """
    count = shape.numel()
    result = torch.empty(count, dtype=torch.float64, device=where)
    for begin in range(0, count, _BLOCK):
        part = result[begin : begin + _BLOCK]
        drawn = _gaussians(_SUMMED * len(part), where).view(_SUMMED, len(part))
        torch.sum(drawn, dim=0, out=part)
    return result.mul_(deviation / _SUMMED**0.5).view(shape)


def poisson_sample(count: int, rate: float) -> list[int]:
    """Draw each of `count` units independently with probability `rate`; maybe none of them."""
    if rate >= 1:
        return list(range(count))
    words = np.frombuffer(os.urandom(8 * count), dtype=np.uint64)
    # rounded down: a unit is never drawn more often than is accounted for
    return [int(i) for i in np.flatnonzero(words < np.uint64(int(rate * 2**64)))]


def _gaussians(count: int, where: torch.device) -> Tensor:
    """Draw standard Gaussians by Box and Muller's transform; `count` is even."""
    words = np.frombuffer(os.urandom(8 * count), dtype=np.int64)
    # 63 random bits, shifted by half a step: never 0, and fine where the tails come from
    uniform = (torch.from_numpy(words.copy()).to(where) & (1 << 63) - 1).double()
    uniform = uniform.add_(0.5).mul_(2.0**-63)
    first, second = uniform.chunk(2)
    radius, angle = first.log_().mul_(-2).sqrt_(), second.mul_(2 * torch.pi)
    return torch.cat([radius * angle.cos(), radius * angle.sin()])
