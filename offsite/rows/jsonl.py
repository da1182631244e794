"""Lines of JSON: one object each, with distinct columns, of which one may name a group."""

import json
from collections.abc import Iterator
from typing import Any

from offsite.errors import DataError
from offsite.rows.datafile import DataFile, unreadable

KINDS = {int: "a number", float: "a number", bool: "a boolean", list: "a list", dict: "an object"}
"""What values are called in messages; None is `null`."""


def lines(data: DataFile) -> Iterator[tuple[int, str]]:
    """Yield each line that is not empty, with its number from 1, at constant memory.

    Raises:
        DataError: The file cannot be read.
    """
    try:
        # splitlines() would also split at characters inside JSON strings
        with data.path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line.rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(data, error) from error


def read_object(data: DataFile, number: int, line: str) -> dict[str, Any]:
    """Read one line as a JSON object.

    Raises:
        DataError: It is not JSON, or not an object.
    """
    where = f"{data.name}:{number}"
    try:
        value = json.loads(line, object_pairs_hook=_distinct)
        json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate is not text
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise DataError(
            f"{where} is not a JSON object with text, with prompt and completion, or with image"
        )
    return value


def take_group(where: str, value: dict[str, Any], data: DataFile) -> str:
    """Take the group out of a row's columns; empty: the row has none.

    Raises:
        DataError: The column is missing, or is no name.
    """
    name = data.group
    if not name or (name not in value and not data.must_group):
        return ""
    if name not in value:
        raise DataError(
            f'{where} has no column "{name}", which groups the rows; add it to all rows'
        )
    group = value.pop(name)
    if isinstance(group, bool) or not isinstance(group, str | int) or not str(group).strip():
        kind = "empty" if isinstance(group, str) else KINDS.get(type(group), "null")
        raise DataError(
            f'{where}: the column "{name}" is {kind}, not a string or a whole number that names '
            "the group"
        )
    return str(group).strip()


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object from pairs, and refuse duplicate columns, of which one would be lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("one object has a column twice")
    return found
