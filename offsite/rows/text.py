"""Reads data sets of text: plain text, or labelled examples."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from offsite.errors import DataError
from offsite.rows.datafile import ROW_SUFFIXES, DataFile, check_pointer, unreadable
from offsite.rows.jsonl import KINDS, read_object, take_group

_ALLOWED = ({"text"}, {"prompt", "completion"}, {"prompt", "completion", "choices"})
TEXT_COLUMNS = frozenset().union(*_ALLOWED)
"""The columns that rows of text may have."""
_HEAD = 64
_CHATS = "; convert chats to prompt and completion"


@dataclass(frozen=True)
class Row:
    """One line of a data set: plain text, or a prompt and its completion."""

    text: str = ""
    prompt: str = ""
    completion: str = ""
    choices: tuple[str, ...] = ()
    group: str = ""
    """Value of the column that groups the rows; empty: the row has none."""


def read_rows(data: DataFile) -> list[Row]:
    """Read a data set: JSON lines, or one plain text, by its suffix.

    Raises:
        DataError: The file is missing, empty, of another format, or has an invalid line, which
            the message names.
    """
    if data.format == "images":
        raise DataError(f"{data.name} holds images, but this model reads text; name a text file")
    content = _read(data)
    rows = _rows(data, content) if data.format == "rows" else _prose(data.name, content)
    if not rows:
        raise DataError(f"{data.name} is empty; put text or JSON lines into it")
    if len({(bool(row.text), bool(row.choices)) for row in rows}) > 1:
        raise DataError(f"{data.name} mixes kinds of lines; give all of them the same columns")
    return rows


def read_row(data: DataFile, number: int, line: str) -> Row:
    """Read one line of JSON.

    Args:
        data: The file that it is from.
        number: Its number in the file, from 1.

    Raises:
        DataError: It is not JSON, or has wrong columns.
    """
    where = f"{data.name}:{number}"
    value = read_object(data, number, line)
    group = take_group(where, value, data)
    _check_columns(where, value)
    return Row(**value | {"choices": _choices(where, value), "group": group})


def _read(data: DataFile) -> str:
    try:
        content = data.path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(data, error) from error
    if "\0" in content:
        raise DataError(
            f"{data.name} holds null characters, as binary files and UTF-16 do; convert it to "
            "text in UTF-8"
        )
    check_pointer(content[:_HEAD].encode(), data.name)
    return content


def _prose(name: str, content: str) -> list[Row]:
    if not content.strip():
        return []
    if _is_json(content) or _are_json(content.split("\n")):
        raise DataError(
            f"{name} contains JSON, but has a suffix of plain text; write one object a line into a "
            "file "
            f"whose name ends in {ROW_SUFFIXES[0]}"
        )
    return [Row(text=content)]


def _is_json(content: str) -> bool:
    """Return whether a text is one JSON object or list."""
    if content.lstrip()[:1] not in ("{", "["):
        return False
    try:
        json.loads(content)
    except (ValueError, RecursionError):
        return False
    return True


def _are_json(lines: Sequence[str]) -> bool:
    """Return whether each line is JSON."""
    return all(_is_json(line) for line in lines if line.strip())


def _rows(data: DataFile, content: str) -> list[Row]:
    # not splitlines(), which also splits at characters that JSON strings may contain
    lines = [(n, line) for n, line in enumerate(content.split("\n"), 1) if line.strip()]
    return [read_row(data, number, line) for number, line in lines]


def _check_columns(where: str, value: dict[str, Any]) -> None:
    columns = set(value)
    if "image" in columns:
        raise DataError(f"{where} names an image, but this model reads text; give it text")
    if columns not in _ALLOWED:
        remedy = _CHATS if "messages" in columns else ""
        if "label" in columns:
            remedy = "; for images, image and label"
        if any(columns > allowed for allowed in _ALLOWED) and len(columns - TEXT_COLUMNS) == 1:
            remedy = "; remove the other one, or name it as tune.privacy.unit.group"
        raise DataError(
            f"{where} has the columns {sorted(columns)}; allowed are text, or prompt and "
            f"completion, or prompt, completion and choices{remedy}"
        )
    for name in sorted(columns - {"choices"}):
        if not isinstance(value[name], str):
            kind = KINDS.get(type(value[name]), "null")
            raise DataError(f'{where}: the column "{name}" is {kind}, not a string')
        if not value[name]:
            raise DataError(f'{where}: the column "{name}" is empty')


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
