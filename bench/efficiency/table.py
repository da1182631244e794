"""Prints the table of a measurement."""

from collections.abc import Sequence
from itertools import groupby

from rich.console import Console
from rich.table import Table

from efficiency.results import TITLES, Row
from efficiency.shapes import SHAPES

_COLUMNS = (
    *("tokens/s", "x full", "x LoRA", "s/step", "peak MiB", "full /", "LoRA /"),
    *("without libraries: MiB", "full /", "LoRA /"),
)
_AIMS = {
    "cpu": "aims of OT: 6 x tokens/s and 1/6 of the memory of full fine-tuning",
    "cuda": "aims of OT: 8 x tokens/s and 1/7 of the memory of full fine-tuning, "
    "4 x tokens/s of LoRA",
}
"""The aims, by device. The paper measured 6.54 x and 1/5.58 on a GPU."""


def print_summary(summary: Sequence[Row], device: str) -> None:
    """Print one table for each shape and batch."""
    console = Console(width=140)
    for (shape, batch), rows in groupby(summary, lambda row: (row["shape"], row["batch"])):
        length = SHAPES[shape].length
        table = Table(title=f"{shape}, {batch} x {length} tokens a step on {device}")
        table.add_column("case")
        for column in _COLUMNS:
            table.add_column(column, justify="right")
        for row in rows:
            table.add_row(TITLES[row["case"]], *_cells(row))
        console.print(table)
    console.print(_AIMS[device])


def _cells(row: Row) -> tuple[str, ...]:
    if "failed" in row:
        return (row["failed"],)
    own = row["peak_mib"] - row["libraries_mib"]
    return (
        f"{row['tokens_per_second']:,.0f}",
        *(_ratio(row[f"times_{name}"]) for name in ("full", "lora")),
        f"{row['step_seconds']:.3g}",
        f"{row['peak_mib']:,.0f}",
        *(_ratio(row[f"less_than_{name}"]) for name in ("full", "lora")),
        f"{own:,.0f}",
        *(_ratio(row[f"less_without_libraries_than_{name}"]) for name in ("full", "lora")),
    )


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
