"""Selects the device, the numerical precision and, of algorithms, those that repeat themselves."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from offsite.errors import InputError
from offsite.process.processors import processors

_CUBLAS = "CUBLAS_WORKSPACE_CONFIG"


def limit_threads() -> None:
    """Let torch use no more threads than this process may use processors.

    torch looks at the affinity, not at the quota of a container.
    """
    torch.set_num_threads(min(torch.get_num_threads(), processors()))


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


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Compute with deterministic algorithms only, if wanted: the same bits on the same device.

    cuBLAS needs a workspace of fixed size, and reads its variable when it is first used
    (https://docs.nvidia.com/cuda/cublas/#results-reproducibility).

    Raises:
        InputError: An operation has no deterministic algorithm on this device.
    """
    if not wanted:
        yield
        return
    before, cublas = torch.are_deterministic_algorithms_enabled(), os.environ.get(_CUBLAS)
    os.environ[_CUBLAS] = cublas or ":4096:8"
    torch.use_deterministic_algorithms(True)
    try:
        yield
    except RuntimeError as error:
        if "deterministic" not in str(error):
            raise
        reason = str(error).split(", but you set")[0]
        raise InputError(f"{reason}; set spec.deterministic to false") from error
    finally:
        torch.use_deterministic_algorithms(before)
        if cublas is None:
            del os.environ[_CUBLAS]


def multiplies_bfloat16(kind: str) -> bool:
    """Return whether the hardware of a kind of device multiplies faster in bfloat16.

    AVX-512 alone does on AMD's processors. On Intel's it takes twice the time of float32 where
    there is no AMX, which a virtual machine may hide: `docs/decisions/0031`.
    """
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    found = torch.cpu.get_capabilities()
    if found.get("amx_bf16") or found.get("arm_bf16"):
        return True
    return bool(found.get("avx512_bf16")) and not str(found.get("cpu_name")).startswith("Intel")
