"""Parquet with the images in it, as `datasets` writes it: encoded bytes, or bytes and a path.

Reading a row of Parquet means reading its row group, which may be the whole file. So the encoded
images are copied to one unnamed temporary file, from which each is read at its place.
"""

import io
import json
import os
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, BinaryIO

import pyarrow as arrow
from pyarrow import parquet

from offsite.errors import DataError, DiskFullError
from offsite.rows.datafile import DataFile, unreadable
from offsite.rows.imagerow import ImageRow, image_row
from offsite.rows.jsonl import take_group
from offsite.rows.labels import read_label

_TOGETHER = 16
_BUFFER = 1 << 20
_WRITTEN_BY_DATASETS = b"huggingface"


def parquet_images(data: DataFile) -> Iterator[ImageRow]:
    """Read the images of a file, in its order.

    Raises:
        DataError: The file is damaged, has other columns, or a row without image or label.
        DiskFullError: The temporary folder has no room for the encoded images.
    """
    with _opened(data) as file:
        columns = _columns(data, file.schema_arrow)
        name_of = _label_names(file.schema_arrow)
        yield from _rows(data, file, columns, name_of)


def parquet_labels(data: DataFile) -> Iterator[str]:
    """Read the labels of a file alone; none: it has no such column.

    Raises:
        DataError: As `parquet_images`.
    """
    with _opened(data) as file:
        if "label" in _columns(data, file.schema_arrow):
            name_of, number = _label_names(file.schema_arrow), 0
            for batch in file.iter_batches(columns=["label"], use_threads=False):
                for value in batch.column("label").to_pylist():
                    yield read_label(f"{data.name}[{number}]", name_of(value))
                    number += 1


@contextmanager
def _opened(data: DataFile) -> Iterator[Any]:
    try:
        with parquet.ParquetFile(data.path, buffer_size=_BUFFER, pre_buffer=False) as file:
            yield file
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise unreadable(data, error) from error
        raise DataError(
            f"{data.name} is damaged, or not Parquet: {' '.join(str(error).split())[:200]}"
        ) from error


def _columns(data: DataFile, schema: Any) -> list[str]:
    if "image" not in schema.names:
        raise DataError(
            f"{data.name} has the columns {sorted(schema.names)}; it needs image, and label for "
            "what is trained on"
        )
    kind = schema.field("image").type
    if arrow.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    if not (arrow.types.is_binary(kind) or arrow.types.is_large_binary(kind)):
        raise DataError(
            f'{data.name}: the column "image" is {schema.field("image").type}, not bytes of '
            "encoded images; write it with `datasets`, or as binary"
        )
    wanted = ("image", "label", data.group)
    return [name for name in wanted if name and name in schema.names]


def _label_names(schema: Any) -> Callable[[Any], Any]:
    """Return what turns a number of `datasets` into the name of its class."""
    try:
        written = json.loads((schema.metadata or {})[_WRITTEN_BY_DATASETS])
        names = written["info"]["features"]["label"]["names"]
    except (KeyError, TypeError, ValueError):
        return lambda value: value
    return lambda value: _named(value, names)


def _named(value: Any, names: Any) -> Any:
    if not isinstance(value, int) or not isinstance(names, list):
        return value
    # -1 is how `datasets` writes that a label is missing
    return names[value] if 0 <= value < len(names) else None


def _rows(
    data: DataFile, file: Any, columns: list[str], name_of: Callable[[Any], Any]
) -> Iterator[ImageRow]:
    spool, number = _Spool(), 0
    for batch in file.iter_batches(_TOGETHER, columns=columns, use_threads=False):
        for value in batch.to_pylist():
            where = f"{data.name}[{number}]"
            group = take_group(where, value, data)
            label = read_label(where, name_of(value["label"])) if "label" in value else None
            yield image_row(label, group, where, spool.keep(_content(where, value["image"])))
            number += 1
    with _room():
        spool.file.flush()


def _content(where: str, image: Any) -> bytes:
    content = image.get("bytes") if isinstance(image, dict) else image
    if content is None:
        kept = image.get("path") if isinstance(image, dict) else None
        raise DataError(
            f"{where} has no image in it"
            + (f", only the path {kept!r}; write the bytes into the file" if kept else "")
        )
    return bytes(content)


class _Spool:
    """Encoded images in an unnamed temporary file, which vanishes with the last of its rows."""

    def __init__(self) -> None:
        self.file, self.size = tempfile.TemporaryFile(), 0  # noqa: SIM115 - closed below
        weakref.finalize(self, self.file.close)

    def keep(self, content: bytes) -> Callable[[], BinaryIO]:
        """Append an image; returns what opens it, in any thread."""
        start = self.size
        with _room():
            self.file.write(content)
        self.size += len(content)
        return partial(self.read, start, len(content))

    def read(self, start: int, size: int) -> BinaryIO:
        return io.BytesIO(os.pread(self.file.fileno(), size, start))


@contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DiskFullError(
            f"cannot copy the images of a Parquet file to {tempfile.gettempdir()}: "
            f"{error.strerror}; free some space there, or set TMPDIR"
        ) from error
