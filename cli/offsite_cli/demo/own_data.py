"""The user's own data as the data owner's: one file, split in three."""

import random
from pathlib import Path

from offsite.data import Row, read_rows
from offsite.errors import DataError
from offsite_cli.demo.rows import write_rows

_FEWEST = 10


def split_own(source: Path, folder: Path, seed: int) -> None:
    """Write train, validation and test (80, 10 and 10 %) from one JSONL or text file.

    JSON lines are shuffled one by one, plain text by its paragraphs.

    Raises:
        DataError: the file is wrong, or too small to be split.
    """
    rows = read_rows(source)
    if len(rows) == 1 and rows[0].text:
        parts = [part.strip() for part in rows[0].text.split("\n\n")]
        rows = [Row(text=part) for part in parts if part]
    if len(rows) < _FEWEST:
        raise DataError(
            f"{source} has {len(rows)} lines or paragraphs; the demo needs {_FEWEST} or more"
        )
    random.Random(seed).shuffle(rows)
    tenth = max(1, len(rows) // 10)
    splits = {
        "validation": rows[:tenth],
        "test": rows[tenth : 2 * tenth],
        "train": rows[2 * tenth :],
    }
    for name, part in splits.items():
        write_rows(folder / f"{name}.jsonl", map(_columns, part))


def _columns(row: Row) -> dict[str, object]:
    if row.text:
        return {"text": row.text}
    columns: dict[str, object] = {"prompt": row.prompt, "completion": row.completion}
    return columns | ({"choices": list(row.choices)} if row.choices else {})
