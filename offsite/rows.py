"""Data sets as people write them: lines of text, or of labelled examples. Needs no torch."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offsite.errors import DataError


@dataclass(frozen=True)
class Row:
    """One line of a data set: plain text, or a prompt and how it goes on."""

    text: str = ""
    prompt: str = ""
    completion: str = ""
    choices: tuple[str, ...] = ()


def read_rows(path: Path) -> list[Row]:
    """Read a data set: `.jsonl` with one object a line, or any other file as one plain text.

    `.ndjson` is another name of `.jsonl`; `.json` is refused, since it may be meant either way.

    Raises:
        DataError: no such file, nothing in it, or a line that is not as it should be; the message
            names file and line.
    """
    kind = path.suffix.lower()
    if kind == ".json":
        raise DataError(f"{path} is one JSON value; write one object a line into a file .jsonl")
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the data {path}: {error}") from error
    if kind in (".jsonl", ".ndjson"):
        # not splitlines(), which also cuts at characters that JSON strings may hold
        lines = [(n, line) for n, line in enumerate(content.split("\n"), 1) if line.strip()]
        rows = [_row(f"{path}:{number}", line) for number, line in lines]
    else:
        rows = [Row(text=content)] if content.strip() else []
    if not rows:
        raise DataError(f"{path} holds no data; put text or JSON lines into it")
    if len({(bool(row.text), bool(row.choices)) for row in rows}) > 1:
        raise DataError(f"{path} mixes kinds of lines; give all of them the same columns")
    return rows


def _row(where: str, line: str) -> Row:
    try:
        value = json.loads(line)
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not JSON: {error}") from error
    columns = set(value) if isinstance(value, dict) else set()
    if columns not in ({"text"}, {"prompt", "completion"}, {"prompt", "completion", "choices"}):
        raise DataError(
            f"{where} has the columns {sorted(columns)}; allowed are text, or prompt and "
            "completion, or prompt, completion and choices"
        )
    if not all(isinstance(value[name], str) and value[name] for name in columns - {"choices"}):
        raise DataError(f"{where} has a column that is empty or not a string")
    return Row(**value | {"choices": _choices(where, value)})


def _choices(where: str, value: dict[str, Any]) -> tuple[str, ...]:
    if "choices" not in value:
        return ()
    choices = value["choices"]
    if not isinstance(choices, list) or not all(isinstance(c, str) and c for c in choices):
        raise DataError(f"{where} has choices that are not a list of strings")
    if len(set(choices)) < max(2, len(choices)) or value["completion"] not in choices:
        raise DataError(
            f"{where} needs two different choices or more, and the completion among them"
        )
    return tuple(choices)
