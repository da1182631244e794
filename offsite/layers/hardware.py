"""Selects the device and the numerical precision."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def device() -> torch.device:
    """Choose where to compute: the GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def inference() -> Iterator[None]:
    """Compute without gradients, at the precision that suits the device."""
    with torch.no_grad(), precision():
        yield


@contextmanager
def precision() -> Iterator[None]:
    """Multiply in bfloat16 where the hardware does, in the model's own dtype elsewhere."""
    kind = device().type
    with torch.autocast(kind, torch.bfloat16, enabled=multiplies_bfloat16(kind)):
        yield


def multiplies_bfloat16(kind: str) -> bool:
    """Return whether the hardware of a kind of device multiplies in bfloat16."""
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "arm_bf16"))
