"""Data sets as the demo writes them: JSON lines."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

Row = Mapping[str, object]
Splits = Mapping[str, Iterable[Row]]
"""The rows of `train`, `validation` and `test`."""


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write one JSON object a line."""
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8")


def write_splits(folder: Path, splits: Splits) -> None:
    """Write each split into a file of its name."""
    for name, rows in splits.items():
        write_rows(folder / f"{name}.jsonl", rows)
