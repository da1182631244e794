"""The user's own data as the data owner's: one file, split in three."""

import random
from pathlib import Path

from offsite.errors import DataError
from offsite.rows import DataFile, Row, read_rows
from offsite_cli.demo.rows import Splits

_FEWEST = 10


def own_data(source: Path, seed: int) -> Splits:
    """Split one JSONL or text file into train, validation and test (80, 10 and 10 %).

    JSON lines are shuffled one by one, plain text by its paragraphs.

    Raises:
        DataError: the file is wrong, or too small to be split.
    """
    rows = read_rows(DataFile(source))
    if len(rows) == 1 and rows[0].text:
        parts = [part.strip() for part in rows[0].text.split("\n\n")]
        rows = [Row(text=part) for part in parts if part]
    if len(rows) < _FEWEST:
        raise DataError(
            f"{source} has {len(rows)} lines or paragraphs; the demo needs {_FEWEST} or more"
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
