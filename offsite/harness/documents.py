"""Reads the documents of a task from files below a folder. Links are not followed."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as arrow
from pyarrow import parquet

from offsite.errors import DataError
from offsite.rows import check_pointer, open_inside
from offsite.text import printable

Document = dict[str, Any]
_LARGEST = 1 << 30
_HEAD = 128


def parts_of(path: str, name: str) -> tuple[str, ...]:
    """Split the path of a file below a folder.

    Args:
        name: What names the path, in messages.

    Raises:
        DataError: It leads out of the folder, is absolute, or is a URL.
    """
    parts = tuple(path.removeprefix("./").split("/"))
    if any(part in ("", ".", "..") for part in parts) or ":" in path or printable(path) != path:
        raise DataError(
            f"{name}: {path!r} is not a file below the folder of the tasks; copy it there, and "
            "name it relative to that folder, without .."
        )
    return parts


def read_bytes(root: Path, parts: Sequence[str], name: str, most: int = _LARGEST) -> bytes:
    """Read a file below a folder.

    Raises:
        DataError: It does not exist, is a link or a pointer of Git LFS, or has more than `most`
            bytes.
    """
    try:
        with open_inside(root, parts, name) as file:
            content = file.read(most + 1)
    except FileNotFoundError as error:
        raise DataError(f"there is no file {name}") from error
    except OSError as error:
        raise DataError(f"cannot read {name}: {error.strerror}") from error
    if len(content) > most:
        raise DataError(f"{name} has more than {most} bytes; split the task")
    check_pointer(content[:_HEAD], name)
    return content


def documents_in(content: bytes, name: str) -> list[Document]:
    """Read the documents of a file: Parquet by its suffix, else one JSON object a line.

    Raises:
        DataError: It is damaged, or has no documents.
    """
    read = _parquet if name.lower().endswith(".parquet") else _json_lines
    if not (found := read(content, name)):
        raise DataError(f"{name} has no documents")
    return found


def _parquet(content: bytes, name: str) -> list[Document]:
    try:
        found: list[Document] = parquet.read_table(arrow.BufferReader(content)).to_pylist()
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{name} is damaged, or not Parquet: {' '.join(str(error).split())[:200]}"
        ) from error
    return found


def _json_lines(content: bytes, name: str) -> list[Document]:
    found = []
    try:
        # splitlines() would also split at characters inside JSON strings
        for number, line in enumerate(io.StringIO(content.decode("utf-8-sig"), newline="\n"), 1):
            if line.strip():
                found.append(_json_object(line, f"{name}:{number}"))
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is not UTF-8 text ({error}); convert it to UTF-8") from error
    return found


def _json_object(line: str, where: str) -> Document:
    try:
        value = json.loads(line)
        json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate is not text
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise DataError(f"{where} is not a JSON object; write one document a line")
    return value
