"""Data sets, split into train, validation and test, as JSON lines."""

import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path

from offsite.errors import DataError
from offsite.rows import DataFile, Row, read_rows

JsonRow = Mapping[str, object]
Splits = Mapping[str, Iterable[JsonRow]]
"""The rows of `train`, `validation` and `test`."""
_FEWEST = 10


def write_splits(folder: Path, splits: Splits) -> None:
    """Write each split to a file of its name."""
    for name, rows in splits.items():
        write_rows(folder / f"{name}.jsonl", rows)


def write_rows(path: Path, rows: Iterable[JsonRow]) -> None:
    """Write one JSON object a line."""
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8")


def split_file(source: Path, seed: int) -> Splits:
    """Split one JSONL or text file into train, validation and test (80, 10 and 10 %).

    Shuffles JSON lines one by one, and plain text by paragraph.

    Raises:
        DataError: the file is invalid, or too small to split.
    """
    rows = read_rows(DataFile(source))
    if len(rows) == 1 and rows[0].text:
        parts = [part.strip() for part in rows[0].text.split("\n\n")]
        rows = [Row(text=part) for part in parts if part]
    if len(rows) < _FEWEST:
        raise DataError(
            f"{source} has {len(rows)} lines or paragraphs; a split needs at least {_FEWEST}"
        )
    random.Random(seed).shuffle(rows)
    tenth = max(1, len(rows) // 10)
    return {
        "validation": map(_columns, rows[:tenth]),
        "test": map(_columns, rows[tenth : 2 * tenth]),
        "train": map(_columns, rows[2 * tenth :]),
    }


def _columns(row: Row) -> dict[str, object]:
    if row.text:
        return {"text": row.text}
    columns: dict[str, object] = {"prompt": row.prompt, "completion": row.completion}
    return columns | ({"choices": list(row.choices)} if row.choices else {})
