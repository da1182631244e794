"""How fast this machine multiplies, measured in a second: for estimates of time alone."""

import time

import torch

from offsite.layers.hardware import device, inference

_ROWS, _WIDTH, _INNER = 1024, 1024, 4096
"""Sizes of a small model's MLP, and as many positions as a small batch has."""
_SECONDS = 1.0


def measured_rate() -> tuple[float, str]:
    """Measure matrix products as a training step multiplies them.

    Returns:
        operations per second, and the dtype in which they are multiplied.
    """
    where = device()
    read = torch.randn(_ROWS, _WIDTH, device=where)
    weight = torch.randn(_INNER, _WIDTH, device=where)
    with inference():
        made = torch.nn.functional.linear(read, weight)  # warms up
        products, began = 0, time.perf_counter()
        while time.perf_counter() - began < _SECONDS:
            torch.nn.functional.linear(read, weight)
            products += 1
            if where.type == "cuda":
                torch.cuda.synchronize()
    seconds = time.perf_counter() - began
    return 2.0 * _ROWS * _WIDTH * _INNER * products / seconds, str(made.dtype)[6:]
