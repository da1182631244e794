"""Text in columns."""

from collections.abc import Iterable, Sequence

from offsite.text import printable


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Pad the cells of rows into columns, as kubectl does."""
    shown = [[printable(cell) for cell in cells] for cells in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*shown, strict=True)]
    return [
        "   ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
        for cells in shown
    ]


def section(title: str, rows: Iterable[Sequence[str]]) -> list[str]:
    """Format a title and the indented table below it; no lines if the table is empty."""
    found = list(rows)
    return [title, *(f"  {line}" for line in align(found))] if found else []
