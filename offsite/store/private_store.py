"""A party's private S3 store with its models, texts and exports, and local copies of them.

Unlike an exchange it is trusted, and its files are large: they are read in pieces and written in
parts, with constant memory. A copy is reused while the store has the same file.
"""

import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from offsite.errors import InputError
from offsite.store.disk import make_folders, private_opener, write_whole
from offsite.store.disk_errors import disk_errors
from offsite.store.locks import locked
from offsite.store.objects import ObjectStore
from offsite.store.open import refuse_same_place, s3_store
from offsite.store.s3 import S3Store
from offsite.store.s3_errors import translate_errors

SETTINGS = "OFFSITE_PRIVATE"
"""Prefix of the environment variables of the private store."""
_PIECE = 64 << 20
_URI = re.compile(r"s3://([^/]+)/(.+?)/?")


class _Object(NamedTuple):
    key: str
    size: int
    etag: str
    """Changes with the content."""


@dataclass(frozen=True)
class PrivateStore:
    """Files of a party in S3, as `s3://bucket/key`."""

    copies: Path
    """The folder of copies; it may be deleted while no job runs."""
    exchange: ObjectStore | None
    """Must not overlap the private store; None: the process has no exchange."""
    environ: Mapping[str, str]

    def file(self, uri: str) -> Path:
        """Return a copy of one file.

        Raises:
            InputError: It does not exist, or the environment does not describe the private store.
            NotAllowedError, UnreachableError, StorageError, DiskFullError: The copy failed.
        """
        store, key = self._open(uri)
        with self._alone(), _asking(store, key):
            # a listing begins with the shortest key
            first = next(_listed(store, key), None)
            if first is None or first.key != key:
                raise InputError(f"there is no {uri} at {store.endpoint}")
            return self._copy(store, first)

    def folder(self, uri: str, patterns: Sequence[str], most: int | None = None) -> Path:
        """Return copies of the files below a prefix whose names match a pattern.

        Args:
            most: Limit on the total size in bytes.

        Raises:
            InputError: There are none, or they are too large; else as for `file`.
        """
        store, key = self._open(uri)
        target = self.copies / store.bucket / key
        with self._alone(), _asking(store, key):
            objects = [o for o in _listed(store, f"{key}/") if _matches(o, patterns)]
            if not objects:
                raise InputError(f"there are no matching files at {uri}; check the location")
            if most is not None and sum(each.size for each in objects) > most:
                raise InputError(f"{uri} is larger than the allowed {most} bytes")
            paths = {self._copy(store, each) for each in objects}
        for stale in {path for path in target.iterdir() if path.is_file()} - paths:
            stale.unlink()
        return target

    def sizes(self, uri: str) -> dict[str, int]:
        """List the files below a prefix: sizes in bytes by name."""
        store, key = self._open(uri)
        with _asking(store, key):
            return {o.key.removeprefix(f"{key}/"): o.size for o in _listed(store, f"{key}/")}

    def written(self, uri: str) -> dict[str, datetime]:
        """List the files below a prefix: the time of the last write by relative path."""
        store, key = self._open(uri)
        with _asking(store, key):
            listed = store.client().list_objects(store.bucket, prefix=f"{key}/", recursive=True)
            found = [(o.object_name, o.last_modified) for o in listed if not o.is_dir]
        return {name.removeprefix(f"{key}/"): at for name, at in found if name and at}

    def read(self, uri: str, most: int) -> bytes:
        """Read a small file.

        Raises:
            NotFoundError: It does not exist.
        """
        store, key = self._open(uri)
        return store.get(key, most)

    def write(self, uri: str, content: bytes) -> None:
        """Write a small file."""
        store, key = self._open(uri)
        store.put(key, content)

    def add(self, uri: str, content: bytes) -> bool:
        """Create a small file; returns whether it is new.

        Raises:
            StorageError: The store ignores conditional writes.
        """
        store, key = self._open(uri)
        return store.put_new(key, content)

    def remove(self, uri: str) -> None:
        """Delete a file, or the files below a prefix, and their copies."""
        store, key = self._open(uri)
        with self._alone():
            store.delete([key, *store.sizes(f"{key}/")])
            shutil.rmtree(self.copies / store.bucket / key, ignore_errors=True)

    def put_folder(self, folder: Path, uri: str, last: str, done: Callable[[], object]) -> None:
        """Write a folder's files below a prefix.

        Args:
            last: The file to write last, which marks the copy as complete.
            done: Called after each file.
        """
        for path in sorted(folder.iterdir(), key=lambda path: (path.name == last, path.name)):
            self.put(path, f"{uri.rstrip('/')}/{path.name}")
            done()

    def put(self, path: Path, uri: str) -> None:
        """Write one file, of any size."""
        store, key = self._open(uri)
        with _asking(store, key), disk_errors(path):
            store.client().fput_object(store.bucket, key, str(path), part_size=_PIECE)

    def _open(self, uri: str) -> tuple[S3Store, str]:
        found = _URI.fullmatch(uri)
        if found is None or not all(_plain(part) for part in found[2].split("/")):
            raise InputError(f"{uri!r} is not a valid location; use s3://bucket/path")
        store = s3_store(f"s3://{found[1]}", SETTINGS, self.environ)
        if self.exchange is not None:
            refuse_same_place(self.exchange, store)
        return store, found[2]

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with locked(self.copies / ".lock"):
            yield

    def _copy(self, store: S3Store, found: _Object) -> Path:
        place = (store.bucket, *found.key.split("/"))
        target = self.copies.joinpath(*place)
        # outside the copies: their folder mirrors the store and has no other files
        note = self.copies.joinpath(".etags", *place)
        known = note.read_text() if note.is_file() and target.is_file() else None
        if known == found.etag and target.stat().st_size == found.size:
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


def _listed(store: S3Store, prefix: str) -> Iterator[_Object]:
    for each in store.client().list_objects(store.bucket, prefix=prefix):
        if not each.is_dir and each.object_name and _plain(each.object_name.rpartition("/")[2]):
            yield _Object(each.object_name, each.size or 0, each.etag or "")


def _matches(found: _Object, patterns: Sequence[str]) -> bool:
    name = found.key.rpartition("/")[2]
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _plain(part: str) -> bool:
    """Return whether a part of a key can be a file name."""
    return part not in ("", ".", "..") and "\0" not in part


def _asking(store: S3Store, key: str) -> AbstractContextManager[None]:
    return translate_errors(store.target(), store.uri(key))
