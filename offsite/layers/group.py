"""The workers that compute together: a process group of torch's, or this process alone.

What is one number for all workers, such as the loss of a batch of which each has a part, is the sum
of what each computes; alone, it is what this process computes, to the last bit.
"""

import torch
import torch.distributed as dist
from torch import Tensor

from offsite.layers.hardware import device


def workers() -> int:
    """Count the workers."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Get this worker's number, from 0 on."""
    return dist.get_rank() if dist.is_initialized() else 0


def leads() -> bool:
    """Whether this worker reports, saves and sends the common result."""
    return rank() == 0


def total(value: Tensor) -> Tensor:
    """Sum a tensor over all workers, without gradients; all of them have to call."""
    if workers() == 1:
        return value
    summed = value.detach().to(device(), copy=True)
    dist.all_reduce(summed)
    return summed.to(value.device)


def agreed(value: bool) -> bool:
    """Get what the leading worker decides; all of them have to call."""
    return bool(total(torch.tensor(float(value and leads()))))
