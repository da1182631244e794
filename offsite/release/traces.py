"""Traces that a malicious emulator leaves in the adapter that was tuned in it. No torch.

An emulator that was built to memorize keeps each piece of text in neurons of its own
(arXiv 2404.00473). The rows of its other neurons get almost no gradient, and a row that stores text
can be far larger than the rest. In an honest emulator nearly every row of every matrix changes, and
by similar amounts, because AdamW divides each gradient by its own size.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from offsite.wire import Part

_SILENT = 0.01
"""Norm of a row, relative to the largest row of its matrix, below which it counts as silent."""


class Traces(Part):
    """The most conspicuous figures of an adapter's matrices."""

    silent_rows: float
    """Largest share of silent rows in one matrix."""
    silent_rows_in: str
    """Name of the matrix with that share."""
    row_ratio: float
    """Largest row norm of one matrix, divided by the median of its rows that are not silent."""
    row_ratio_in: str
    """Name of the matrix with that row."""


def traces_in(path: Path) -> Traces:
    """Measure the matrices of an adapter's file."""

    def tensors() -> Iterator[tuple[str, NDArray[np.floating]]]:
        with safe_open(path, "numpy") as file:
            for name in file.keys():  # noqa: SIM118 - not a dict
                yield name, file.get_tensor(name)

    return traces_of(tensors())


def traces_of(tensors: Iterable[tuple[str, NDArray[np.floating]]]) -> Traces:
    """Measure the matrices of an adapter.

    Args:
        tensors: The tensors by name, as they are sent.
    """
    silent, ratio = (0.0, ""), (1.0, "")
    for name, tensor in tensors:
        for norms in _rows(name, tensor):
            heard = norms[norms > _SILENT * norms.max()]
            silent = max(silent, (1 - len(heard) / len(norms), name))
            if len(heard):
                ratio = max(ratio, (float(norms.max() / np.median(heard)), name))
    return Traces(
        silent_rows=silent[0],
        silent_rows_in=silent[1],
        row_ratio=ratio[0],
        row_ratio_in=ratio[1],
    )


def _rows(name: str, tensor: NDArray[np.floating]) -> Iterator[NDArray[np.floating]]:
    """Yield the norms of a matrix's rows, and where they stand for neurons, of its columns.

    Of LoRA, `lora_B` (out, r) has a row for each output. `lora_A` starts at random, so it shows
    little. A whole matrix has a neuron in each row or in each column.
    """
    if tensor.ndim != 2 or name.endswith(".lora_A"):
        return
    wide = tensor.astype(np.float64)
    yield np.linalg.norm(wide, axis=1)
    if not name.endswith(".lora_B"):
        yield np.linalg.norm(wide, axis=0)
