"""A folder of images with a subfolder for each class, as torchvision and `datasets` have it.

A folder without subfolders holds images without labels.
"""

import os
from collections.abc import Iterator
from functools import partial

from offsite.errors import DataError
from offsite.rows.datafile import DataFile, unreadable
from offsite.rows.imagerow import ImageRow, image_row
from offsite.rows.inside import check_name, irregular, open_inside
from offsite.rows.labels import read_label

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
"""Suffixes of the images in a folder."""
_MADE_BY_DESKTOPS = ("Thumbs.db", "desktop.ini")


def folder_images(data: DataFile) -> Iterator[ImageRow]:
    """List the images of a folder, sorted by class and name.

    Raises:
        DataError: It cannot be read, or it holds a link, an empty class, a folder in a class, or a
            file that is no image.
    """
    for parts in folder_files(data):
        name = f"{data.name}{'/'.join(parts)}"
        label = read_label(name, parts[0]) if len(parts) > 1 else None
        yield image_row(label, "", name, partial(open_inside, data.path, parts, name))


def folder_files(data: DataFile) -> Iterator[tuple[str, ...]]:
    """List the images of a folder by their paths, sorted: `(class, file)`, or `(file,)`.

    Hidden files, and those that desktops make, are left out.

    Raises:
        DataError: As `folder_images`.
    """
    _check_columns(data)
    try:
        entries = _entries(data, ())
        for entry in entries:
            if not _is_folder(entry):
                _check_image(entry.name, f"{data.name}{entry.name}")
                yield (entry.name,)
                continue
            inner = _entries(data, (entry.name,))
            if not inner:
                raise DataError(f"{data.name}{entry.name}/ has no images; put some into it")
            for each in inner:
                yield _of_class(data, entry.name, each)
    except OSError as error:
        raise unreadable(data, error) from error


def _check_columns(data: DataFile) -> None:
    if data.group and data.must_group:
        raise DataError(
            f'{data.name} is a folder, which has no column "{data.group}" to group its images; use '
            "JSON lines or Parquet"
        )


def _entries(data: DataFile, parts: tuple[str, ...]) -> list["os.DirEntry[str]"]:
    """List a folder, sorted by name. A link in it is an error."""
    with os.scandir(data.path.joinpath(*parts)) as found:
        entries = [each for each in found if not _is_left_out(each.name)]
    for each in entries:
        name = f"{data.name}{'/'.join((*parts, each.name))}"
        check_name(each.name, name)
        if each.is_symlink() or not (each.is_file() or each.is_dir()):
            raise irregular(name)
    return sorted(entries, key=lambda entry: entry.name)


def _is_left_out(name: str) -> bool:
    return name.startswith(".") or name in _MADE_BY_DESKTOPS


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    return entry.is_dir(follow_symlinks=False)


def _of_class(data: DataFile, label: str, entry: "os.DirEntry[str]") -> tuple[str, str]:
    name = f"{data.name}{label}/{entry.name}"
    if _is_folder(entry):
        raise DataError(
            f"{name}/ is a folder inside the class {label}; put the images of a class directly "
            "into its folder, and name the folder whose subfolders are the classes"
        )
    _check_image(entry.name, name)
    return label, entry.name


def _check_image(name: str, shown: str) -> None:
    if not name.lower().endswith(SUFFIXES):
        raise DataError(
            f"{shown} is not named as an image ({', '.join(SUFFIXES)}); convert it, or move it out "
            "of the folder"
        )
