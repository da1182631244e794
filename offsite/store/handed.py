"""Copies folders to and from places that others may change at any moment (`store.beneath`)."""

import os
import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from offsite.errors import InputError
from offsite.store.beneath import (
    AS_FOLDER,
    closing,
    folder_below,
    new_file,
    open_at,
    regular_file,
    remove_at,
    too_large,
)

_PIECE = 4 << 20
_MOST_FILES = 10_000


def take_below(root: Path, name: str, target: Path, most: int) -> None:
    """Copy the files of a folder into a new private one.

    Args:
        most: Limit on the total size in bytes.

    Raises:
        FileNotFoundError: The folder does not exist.
        InputError: It contains other things than regular files, or is too large.
    """
    target.mkdir(mode=0o700)
    with folder_below(root, name) as at:
        with os.scandir(at) as found:
            names = [entry.name for entry in islice(found, _MOST_FILES + 1)]
        if len(names) > _MOST_FILES:
            raise InputError(f"{root / name} has more than {_MOST_FILES} files")
        left = most
        for each in sorted(names):
            with regular_file(each, at, root / name / each) as file:
                left -= _copy(file, target / each, left, root / name)


def put_below(folder: Path, root: Path, name: str, done: Callable[[], object]) -> None:
    """Copy the files of a private folder to below a root; they appear at once.

    Args:
        done: Called after each file.
    """
    parent, _, last = name.rpartition("/")
    scratch = f".{last}.partial"
    with folder_below(root, parent, make=True) as at:
        remove_at(scratch, at)
        os.mkdir(scratch, 0o700, dir_fd=at)
        try:
            with closing(open_at(scratch, AS_FOLDER, at, root / name)) as inner:
                for path in sorted(folder.iterdir()):
                    with path.open("rb") as file, new_file(path.name, inner) as made:
                        shutil.copyfileobj(file, made, _PIECE)
                    done()
            remove_at(last, at)
            os.rename(scratch, last, src_dir_fd=at, dst_dir_fd=at)
        finally:
            remove_at(scratch, at)


def _copy(source: int, target: Path, most: int, what: Path) -> int:
    """Copy a file that may grow meanwhile; returns its size."""
    if os.fstat(source).st_size > most:
        raise too_large(what, most)
    size = 0
    with target.open("xb") as file:
        while piece := os.read(source, _PIECE):
            size += len(piece)
            if size > most:
                raise too_large(what, most)
            file.write(piece)
    return size
