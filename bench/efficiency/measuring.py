"""Measures one case in a process of its own: `python -m efficiency.measuring`, a line of JSON."""

import argparse
import gc
import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from efficiency.cases import CASES, Work
from efficiency.models import write_emulator
from efficiency.shapes import SHAPES
from offsite.layers import device
from offsite.process.usage import peak_memory

Figures = dict[str, float | str]
"""Either what was measured, or why there is nothing: `failed`."""


def main() -> None:
    """Write the emulator of a shape, or print the figures of a case, one line for each batch."""
    options = _options()
    sys.stdout = sys.stderr  # the Trainer prints
    if device().type != options.device:
        raise SystemExit(f"asked for {options.device}, but torch finds {device().type} alone")
    if options.case is None:
        write_emulator(SHAPES[options.shape], options.emulator)
        return
    for figures in measure(options):
        print(json.dumps(figures), file=sys.__stdout__, flush=True)


def measure(options: argparse.Namespace) -> Iterator[Figures]:
    """Measure one case with each of some numbers of examples a step."""
    shape, libraries = SHAPES[options.shape], peak_memory()
    for batch in options.batches:
        steps = options.warmup + options.steps
        work = Work(shape, batch, steps, options.rank, options.emulator)
        yield _measured(options.case, work, options.warmup, libraries)
        del work
        gc.collect()
        if device().type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


def _measured(case: str, work: Work, warmup: int, libraries: int) -> Figures:
    try:
        CASES[case](work)
    except torch.OutOfMemoryError:
        return {"failed": "out of memory"}
    pairs = list(zip(work.ticks[warmup:], work.ticks[warmup + 1 :], strict=False))
    seconds = statistics.median(end - begin for begin, end in pairs)
    return {
        "step_seconds": seconds,
        "tokens_per_second": work.batch * work.shape.length / seconds,
        "on": _name(),
        **_peaks(libraries),
    }


def _name() -> str:
    """Return the name of the hardware."""
    if device().type == "cuda":
        return torch.cuda.get_device_name()
    return str(torch.cpu.get_capabilities().get("cpu_name", "unknown"))


def _peaks(libraries: int) -> dict[str, float]:
    """Return the peak memory of the device in MiB.

    Of a CPU: of the process. `libraries` of it were taken before the first model.
    """
    if device().type == "cpu":
        return {"peak_mib": peak_memory() / 2**20, "libraries_mib": libraries / 2**20}
    return {
        "peak_mib": torch.cuda.max_memory_allocated() / 2**20,
        "reserved_mib": torch.cuda.max_memory_reserved() / 2**20,
        "libraries_mib": 0.0,
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, required=True)
    parser.add_argument("--emulator", type=Path, required=True)
    parser.add_argument("--device", choices=("cpu", "cuda"), required=True)
    parser.add_argument("--case", choices=CASES)
    parser.add_argument("--batches", type=int, nargs="*", default=[1])
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--rank", type=int, default=16)
    return parser.parse_args()


if __name__ == "__main__":
    main()
