"""What a plan assumes of the machine: its memory and its speed, stated or measured."""

import os
from dataclasses import dataclass

from offsite.api import JobSpec
from offsite.errors import InputError
from offsite.process.lifetime import uncollected
from offsite.sizing import Limit, bytes_of


@dataclass(frozen=True)
class Rate:
    """How fast a worker multiplies."""

    flops: float
    """Per second."""
    how: str
    """Where the figure is from."""
    bfloat16: bool
    """Whether matrices are multiplied in bfloat16."""


def limit_of(spec: JobSpec, memory: str | None, gpu_memory: str | None) -> Limit:
    """Find the memory of a worker: stated, requested by the job, or free on this machine."""
    gpu = gpu_memory is not None or spec.resources.gpus_per_worker > 0
    device = _amount("--gpu-memory", gpu_memory) if gpu_memory else None
    if memory:
        found, what = _amount("--memory", memory), "--memory"
    elif "memory_per_worker" in spec.resources.model_fields_set:
        found, what = Limit.requested(spec).memory, Limit.requested(spec).what
    else:
        found, what = free_memory(), "this machine"
    return Limit(memory=found, what=what, device=device, gpu=gpu)


def rate_of(tflops: float | None, bfloat16: bool | None) -> Rate:
    """Return the stated rate, or measure that of this machine; imports torch then.

    Args:
        bfloat16: Whether matrices are multiplied in bfloat16; None: what was measured, else yes.
    """
    if tflops is not None:
        return Rate(tflops * 1e12, "stated with --tflops", bfloat16=bfloat16 is not False)
    with uncollected():
        from offsite.layers.rate import measured_rate
    flops, kind = measured_rate()
    how = f"measured here: matrix products in {kind}, on all of its threads"
    measured = kind == "bfloat16"
    return Rate(flops, how, bfloat16=measured if bfloat16 is None else bfloat16)


def free_memory() -> int:
    """Return the bytes of memory that a new process can have."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            facts = dict(line.split(":", 1) for line in file)
        return int(facts["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _amount(flag: str, given: str) -> int:
    try:
        return bytes_of(given)
    except ValueError as error:
        raise InputError(f"{flag}: {error}") from error
