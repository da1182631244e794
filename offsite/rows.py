"""Reads data sets: lines of text, or labelled examples. No torch."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from offsite.errors import DataError

Format = Literal["rows", "prose"]
ROW_SUFFIXES = (".jsonl", ".ndjson")
"""Suffixes of data files with one JSON object per line."""
PROSE_SUFFIXES = (".txt", ".text", ".md")
"""Suffixes of data files with one plain text."""
COLUMNS = ("text", "prompt", "completion", "choices")
"""Columns of a row that hold its text. A row has one more where rows are grouped."""
_POINTERS = ("version https://git-lfs.github.com/spec/", "/annex/objects/")
"""Beginnings of the pointer files of Git LFS and git-annex."""

_ALLOWED = ({"text"}, {"prompt", "completion"}, {"prompt", "completion", "choices"})
_CHATS = "; convert chats to prompt and completion"
_KINDS = {int: "a number", float: "a number", bool: "a boolean", list: "a list", dict: "an object"}


@dataclass(frozen=True)
class DataFile:
    """A data file: its local path, and the name that its user gave it."""

    path: Path
    location: str = ""
    """Location in the job; empty: the path. A link may lead to a file with another name."""
    group: str = ""
    """Column that groups the rows; empty: they have no such column."""
    must_group: bool = True
    """Whether each row must have that column."""

    @property
    def name(self) -> str:
        """Its name in messages."""
        return self.location or str(self.path)

    @property
    def format(self) -> Format:
        """The format, by the suffix of the user's name for it, not of a link's target.

        Raises:
            DataError: The suffix is unknown.
        """
        if self.name.lower().endswith(ROW_SUFFIXES):
            return "rows"
        if self.name.lower().endswith(PROSE_SUFFIXES):
            return "prose"
        raise DataError(
            f"the format of {self.name} is unknown: use a name that ends in "
            f"{' or '.join(ROW_SUFFIXES)} for one JSON object per line, or in "
            f"{', '.join(PROSE_SUFFIXES[:-1])} or {PROSE_SUFFIXES[-1]} for plain text; convert "
            "CSV, TSV, Parquet and others to JSON lines first"
        )


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
    kind, content = data.format, _read(data)
    rows = _rows(data, content) if kind == "rows" else _prose(data.name, content)
    if not rows:
        raise DataError(f"{data.name} is empty; put text or JSON lines into it")
    if len({(bool(row.text), bool(row.choices)) for row in rows}) > 1:
        raise DataError(f"{data.name} mixes kinds of lines; give all of them the same columns")
    return rows


def unreadable(data: DataFile, error: OSError | UnicodeDecodeError) -> DataError:
    """Translate a failure to read a data file."""
    if isinstance(error, UnicodeDecodeError):
        return DataError(
            f"cannot read the data {data.name}: it is not UTF-8 text ({error}); unpack it, or "
            "convert it to UTF-8"
        )
    if isinstance(error, FileNotFoundError):
        place = "" if str(data.path) == data.name else f" (that is {data.path})"
        return DataError(f"there is no data file {data.name}{place}")
    return DataError(f"cannot read the data {data.name}: {error.strerror or error}")


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
    if content.startswith(_POINTERS):
        raise DataError(
            f"{data.name} is a pointer of Git LFS or git-annex, not the data itself; get that "
            "with `git lfs pull` or `git annex get`"
        )
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


def read_row(data: DataFile, number: int, line: str) -> Row:
    """Read one line of JSON.

    Args:
        data: The file that it is from.
        number: Its number in the file, from 1.

    Raises:
        DataError: It is not JSON, or has wrong columns.
    """
    where = f"{data.name}:{number}"
    value = _object(where, line)
    group = _group(where, value, data)
    _check_columns(where, value)
    return Row(**value | {"choices": _choices(where, value), "group": group})


def _object(where: str, line: str) -> dict[str, Any]:
    try:
        value = json.loads(line, object_pairs_hook=_distinct)
        json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate is not text
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise DataError(f"{where} is not a JSON object with text, or with prompt and completion")
    return value


def _group(where: str, value: dict[str, Any], data: DataFile) -> str:
    """Take the group out of a row's columns."""
    name = data.group
    if not name or (name not in value and not data.must_group):
        return ""
    if name not in value:
        raise DataError(
            f'{where} has no column "{name}", which groups the rows; add it to all rows'
        )
    group = value.pop(name)
    if isinstance(group, bool) or not isinstance(group, str | int) or not str(group).strip():
        kind = "empty" if isinstance(group, str) else _KINDS.get(type(group), "null")
        raise DataError(
            f'{where}: the column "{name}" is {kind}, not a string or a whole number that names '
            "the group"
        )
    return str(group).strip()


def _check_columns(where: str, value: dict[str, Any]) -> None:
    columns = set(value)
    if columns not in _ALLOWED:
        remedy = _CHATS if "messages" in columns else ""
        if any(columns > allowed for allowed in _ALLOWED) and len(columns - {*COLUMNS}) == 1:
            remedy = "; remove the other one, or name it as tune.privacy.unit.group"
        raise DataError(
            f"{where} has the columns {sorted(columns)}; allowed are text, or prompt and "
            f"completion, or prompt, completion and choices{remedy}"
        )
    for name in sorted(columns - {"choices"}):
        if not isinstance(value[name], str):
            kind = _KINDS.get(type(value[name]), "null")
            raise DataError(f'{where}: the column "{name}" is {kind}, not a string')
        if not value[name]:
            raise DataError(f'{where}: the column "{name}" is empty')


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object from pairs, and refuse duplicate columns, of which one would be lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("one object has a column twice")
    return found


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
