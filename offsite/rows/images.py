"""Reads data sets of images: a folder with a subfolder for each class, JSON lines, or Parquet."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BufferedReader
from typing import TYPE_CHECKING, Any, TypeVar

from offsite.errors import DataError
from offsite.labels import MAX_LABELS
from offsite.process.processors import processors
from offsite.rows.datafile import DataFile
from offsite.rows.folder import folder_files, folder_images
from offsite.rows.imagerow import ImageRow
from offsite.rows.inside import open_inside
from offsite.rows.jsonl import lines, read_object
from offsite.rows.listed import listed_files, listed_images
from offsite.rows.text import TEXT_COLUMNS

if TYPE_CHECKING:
    from PIL.Image import Image

T = TypeVar("T")
_TOGETHER = 256
"""How many images are queued before the next ones are looked at."""
_THREADS = 4
"""How many images are decoded at once, at most: each takes the memory of its pixels."""


def read_images(data: DataFile) -> Sequence[ImageRow]:
    """Read a data set of images, and decode each image once, so that a damaged one is found now.

    Raises:
        DataError: The data cannot be read, has no images, or has one that cannot be decoded,
            which the message names.
    """
    rows = image_rows(data)
    for _ in glances(rows, lambda image: None):
        pass
    return rows


def glances(rows: Sequence[ImageRow], use: Callable[["Image"], T]) -> Iterator[tuple[ImageRow, T]]:
    """Decode each image once, at a reduced size where that is faster, several at once.

    Args:
        use: What to return of an image; it is not kept itself.

    Raises:
        DataError: One cannot be decoded.
    """

    def glance(row: ImageRow) -> T:
        return use((row.glance or row.open)())

    with ThreadPoolExecutor(min(_THREADS, processors())) as pool:
        for start in range(0, len(rows), _TOGETHER):
            few = rows[start : start + _TOGETHER]
            yield from zip(few, pool.map(glance, few), strict=True)


def image_rows(data: DataFile) -> Sequence[ImageRow]:
    """List the images of a data set with their labels, without decoding them.

    Raises:
        DataError: The data cannot be read, has no images, or has a row that is not valid.
    """
    rows = list(_found(data))
    if not rows:
        raise DataError(f"{data.name} has no images; put some into it")
    labels = {row.label for row in rows}
    if None in labels and len(labels) > 1:
        bare = next(row for row in rows if row.label is None)
        raise DataError(f"{bare.name} has no label, but other images have one; label all or none")
    if len(labels) > MAX_LABELS:
        raise DataError(
            f"{data.name} has {len(labels)} classes; at most {MAX_LABELS} are allowed: check that "
            "its labels name classes, and not single images"
        )
    return rows


def labels_in(data: DataFile) -> frozenset[str]:
    """List the labels of a data set of images, without decoding them.

    Raises:
        DataError: As for `image_rows`.
    """
    if data.format == "images" and not data.is_folder:
        from offsite.rows.parquet import parquet_labels

        return frozenset(parquet_labels(data))
    return frozenset(row.label for row in image_rows(data) if row.label is not None)


def holds_images(data: DataFile) -> bool:
    """Return whether a data set holds images; for JSON lines, whether the first one names one.

    Raises:
        DataError: The file cannot be read, or its format is unknown.
    """
    return data.format == "images" or "image" in _first(data)


def begins_with_image(head: bytes) -> bool:
    """Return whether the beginning of JSON lines has a row that names an image."""
    line = head.removeprefix(b"\xef\xbb\xbf").lstrip().partition(b"\n")[0]
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and "image" in value


def image_files(data: DataFile) -> Iterator[tuple[str, Callable[[], BufferedReader]]]:
    """List the files of images beside or below a data set: names, and what opens them.

    There are none for text and for Parquet, which is one file.

    Raises:
        DataError: As `image_rows`.
    """
    if data.is_folder:
        found, root = folder_files(data), data.path
    elif data.format == "rows" and holds_images(data):
        found, root = listed_files(data), data.path.parent
    else:
        return
    for parts in found:
        name = "/".join(parts)
        yield name, partial(open_inside, root, parts, f"{data.name}: {name}")


def _first(data: DataFile) -> Mapping[str, Any]:
    """Read the first of JSON lines; empty: there is none."""
    line = next(lines(data), None) if data.format == "rows" else None
    return read_object(data, *line) if line else {}


def _found(data: DataFile) -> Iterator[ImageRow]:
    first = _first(data)
    if data.format == "prose" or ("image" not in first and first.keys() & TEXT_COLUMNS):
        raise DataError(
            f"{data.name} holds text, but this model reads images; name a folder of images (ending "
            "in /), JSON lines with the column image, or Parquet"
        )
    if data.is_folder:
        return folder_images(data)
    if data.format == "rows":
        return listed_images(data)
    from offsite.rows.parquet import parquet_images  # takes a second, and no other format needs it

    return parquet_images(data)
