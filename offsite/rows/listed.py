"""JSON lines that each name an image file beside them, and its class."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from offsite.errors import DataError
from offsite.rows.datafile import DataFile
from offsite.rows.imagerow import ImageRow, image_row
from offsite.rows.inside import check_name, open_inside
from offsite.rows.jsonl import KINDS, lines, read_object, take_group
from offsite.rows.labels import read_label

_ALLOWED = ({"image"}, {"image", "label"})


def listed_images(data: DataFile) -> Iterator[ImageRow]:
    """Read the lines of a file: `image` is a path below its folder, `label` a class.

    Raises:
        DataError: A line has other columns, or a path that leads out of the folder.
    """
    for number, line in lines(data):
        where = f"{data.name}:{number}"
        value = read_object(data, number, line)
        group = take_group(where, value, data)
        if set(value) not in _ALLOWED:
            raise DataError(
                f"{where} has the columns {sorted(value)}; allowed are image, or image and label"
            )
        parts = _parts(where, value["image"])
        label = read_label(where, value["label"]) if "label" in value else None
        name = f"{where} ({'/'.join(parts)})"
        file = partial(open_inside, data.path.parent, parts, name)
        yield image_row(label, group, name, file)


def listed_files(data: DataFile) -> Iterator[tuple[str, ...]]:
    """List the paths of the images that a file names, in its order.

    Raises:
        DataError: A line names none, or a path that leads out of the folder.
    """
    for number, line in lines(data):
        value = read_object(data, number, line)
        yield _parts(f"{data.name}:{number}", value.get("image"))


def _parts(where: str, path: Any) -> tuple[str, ...]:
    if not isinstance(path, str):
        kind = KINDS.get(type(path), "null")
        raise DataError(f'{where}: the column "image" is {kind}, not the path of a file')
    parts = tuple(path.removeprefix("./").split("/"))
    check_name(path, f"{where} ({path})")
    if any(part in ("", ".", "..") for part in parts):
        raise DataError(
            f"{where}: the image {path!r} is not a path below the folder of its file; "
            "name it relative to that folder, without .."
        )
    return parts
