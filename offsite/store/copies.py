"""Local copies of a bucket's files, in folders as in the bucket. One is reused while it is current.

The files are listed below a prefix, and copied in pieces, several at once.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from offsite.errors import InputError
from offsite.store.disk import make_folders, private_opener, write_whole
from offsite.store.disk_errors import check_room, disk_errors
from offsite.store.s3 import S3Store

MAX_FILES = 1_000_000
"""How many files a folder in a bucket may have."""
_PIECE = 64 << 20
_AT_ONCE = 8
_TOGETHER = 256


class StoredFile(NamedTuple):
    """A file in a bucket."""

    key: str
    size: int
    etag: str
    """Changes with the content."""


def files_at(store: S3Store, prefix: str) -> Iterator[StoredFile]:
    """List the files whose keys begin with a prefix, but not those in deeper folders."""
    for each in store.client().list_objects(store.bucket, prefix=prefix):
        if not each.is_dir and each.object_name and is_plain(each.object_name.rpartition("/")[2]):
            yield StoredFile(each.object_name, each.size or 0, each.etag or "")


def files_below(store: S3Store, key: str) -> list[StoredFile]:
    """List all files in a folder and in its folders.

    Raises:
        InputError: There are too many, or the key of one is no path.
    """
    listed = store.client().list_objects(store.bucket, prefix=f"{key}/", recursive=True)
    found = [
        StoredFile(each.object_name, each.size or 0, each.etag or "")
        for each in islice(listed, MAX_FILES + 1)
        # consoles make empty objects that stand for a folder
        if each.object_name and not each.object_name.endswith("/")
    ]
    if len(found) > MAX_FILES:
        raise InputError(f"{store.uri(key)}/ has more than {MAX_FILES:,} files; use fewer")
    for each in found:
        if not all(map(is_plain, each.key.split("/"))):
            raise InputError(f"{store.uri(each.key)} has no valid file name; rename it")
    return found


def is_plain(part: str) -> bool:
    """Return whether a part of a key can be a file name."""
    return part not in ("", ".", "..") and "\0" not in part


@dataclass(frozen=True)
class Copies:
    """A folder of copies, with a folder for each bucket."""

    root: Path

    def place(self, store: S3Store, key: str) -> Path:
        """Return where the copy of a file or folder is."""
        return self.root.joinpath(store.bucket, *key.split("/"))

    def copy(self, store: S3Store, found: StoredFile) -> Path:
        """Copy a file, unless the copy is current."""
        target, note = self.place(store, found.key), self._note(store, found.key)
        if self._is_current(store, found):
            return target
        note.unlink(missing_ok=True)
        scratch = note.with_name(f".{note.name}.partial")
        with disk_errors(target):
            make_folders(target.parent)
            make_folders(note.parent)
            with open(scratch, "wb", opener=private_opener) as file:
                for start in range(0, found.size, _PIECE):
                    file.write(store.get_piece(found.key, start, _PIECE, found.etag))
            scratch.replace(target)
        write_whole(note, found.etag.encode())
        return target

    def copy_all(self, store: S3Store, files: Sequence[StoredFile]) -> None:
        """Copy files, several at once.

        Raises:
            DiskFullError: There is no room for them.
        """
        with disk_errors(self.root):
            make_folders(self.root)
            missing = [each for each in files if not self._is_current(store, each)]
            check_room(self.root, sum(each.size for each in missing))
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for start in range(0, len(missing), _TOGETHER):
                for _ in pool.map(partial(self.copy, store), missing[start : start + _TOGETHER]):
                    pass

    def keep_only(self, store: S3Store, key: str, files: Sequence[StoredFile]) -> None:
        """Delete the copies in a folder of what is no longer in the bucket."""
        for place in (self.place, self._note):
            _keep_only(place(store, key), {place(store, each.key) for each in files})

    def _note(self, store: S3Store, key: str) -> Path:
        # outside the copies: their folder mirrors the store and has no other files
        return self.root.joinpath(".etags", store.bucket, *key.split("/"))

    def _is_current(self, store: S3Store, found: StoredFile) -> bool:
        target, note = self.place(store, found.key), self._note(store, found.key)
        if not (note.is_file() and target.is_file()):
            return False
        return note.read_text() == found.etag and target.stat().st_size == found.size


def _keep_only(root: Path, kept: set[Path]) -> None:
    for folder, folders, files in os.walk(root, topdown=False):
        for name in files:
            if (path := Path(folder, name)) not in kept:
                path.unlink()
        for name in folders:
            path = Path(folder, name)
            if path.is_symlink():
                path.unlink()
            elif not any(path.iterdir()):
                path.rmdir()
