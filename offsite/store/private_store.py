"""A party's private S3 store with its models, texts and exports, and local copies of them.

Unlike an exchange it is trusted, and its files are large: they are read in pieces and written in
parts, with constant memory. A copy is reused while the store has the same file.
"""

import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path

from offsite.errors import InputError
from offsite.store.copies import Copies, StoredFile, files_at, files_below, is_plain
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
            return self._own.copy(store, self._found(store, key, uri))

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
            objects = [o for o in files_at(store, f"{key}/") if _matches(o, patterns)]
            if not objects:
                raise InputError(f"there are no matching files at {uri}; check the location")
            if most is not None and sum(each.size for each in objects) > most:
                raise InputError(f"{uri} is larger than the allowed {most} bytes")
            paths = {self._own.copy(store, each) for each in objects}
        for stale in {path for path in target.iterdir() if path.is_file()} - paths:
            stale.unlink()
        return target

    def tree(self, uri: str) -> Path:
        """Return copies of all files below a prefix, in folders as in the store.

        Raises:
            InputError: There are none, too many, or one whose key is no path; else as for `file`.
        """
        store, key = self._open(uri)
        target = self._own.place(store, key)
        with self._alone(), _asking(store, key):
            objects = files_below(store, key)
            if not objects:
                raise InputError(f"there are no files at {uri}; check the location")
            self._own.keep_only(store, key, objects)
            self._own.copy_all(store, objects)
        return target

    def files(self, uri: str, names: Iterable[str]) -> None:
        """Copy files below a prefix, in folders as in the store; missing ones are left out.

        Args:
            names: Their paths below the prefix.

        Raises:
            InputError: As for `tree`.
        """
        store, key = self._open(uri)
        wanted = {f"{key}/{name}" for name in names}
        with self._alone(), _asking(store, key):
            found = [each for each in files_below(store, key) if each.key in wanted]
            self._own.copy_all(store, found)

    def head(self, uri: str, most: int) -> bytes:
        """Read the beginning of a file.

        Raises:
            InputError: It does not exist.
        """
        store, key = self._open(uri)
        with _asking(store, key):
            found = self._found(store, key, uri)
            return store.get_piece(key, 0, min(most, found.size), found.etag) if found.size else b""

    def sizes(self, uri: str) -> dict[str, int]:
        """List the files below a prefix: sizes in bytes by name."""
        store, key = self._open(uri)
        with _asking(store, key):
            return {o.key.removeprefix(f"{key}/"): o.size for o in files_at(store, f"{key}/")}

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
        if found is None or not all(is_plain(part) for part in found[2].split("/")):
            raise InputError(f"{uri!r} is not a valid location; use s3://bucket/path")
        store = s3_store(f"s3://{found[1]}", SETTINGS, self.environ)
        if self.exchange is not None:
            refuse_same_place(self.exchange, store)
        return store, found[2]

    def _found(self, store: S3Store, key: str, uri: str) -> StoredFile:
        # a listing begins with the shortest key
        first = next(files_at(store, key), None)
        if first is None or first.key != key:
            raise InputError(f"there is no {uri} at {store.endpoint}")
        return first

    @property
    def _own(self) -> Copies:
        return Copies(self.copies)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with locked(self.copies / ".lock"):
            yield


def _matches(found: StoredFile, patterns: Sequence[str]) -> bool:
    name = found.key.rpartition("/")[2]
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _asking(store: S3Store, key: str) -> AbstractContextManager[None]:
    return translate_errors(store.target(), store.uri(key))
