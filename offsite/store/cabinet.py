"""Where a party keeps what outlives a process: a folder, or a prefix of its private store."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from offsite.errors import NotFoundError
from offsite.store.disk import disk_errors, link_or_copy, whole_folder, write_whole
from offsite.store.library import Library

LARGEST_NOTE = 64 << 20


class Cabinet(Protocol):
    """Notes and folders by name. What is written appears whole or not at all."""

    def uri(self, name: str) -> str:
        """Name a note or a folder, for people."""
        ...

    def read(self, name: str) -> bytes | None:
        """Read a note; None: there is none.

        Raises:
            StorageError: it was not given.
        """
        ...

    def write(self, name: str, content: bytes) -> None:
        """Write a note.

        Raises:
            StorageError: it was not taken.
        """
        ...

    def names(self, name: str) -> list[str]:
        """List the notes in a folder.

        Raises:
            StorageError: it was not told.
        """
        ...

    def folder(self, name: str, last: str) -> Path | None:
        """Get a folder on this disk, to be read only; None: there is none that is whole.

        Args:
            last: the file that was written last.
        """
        ...

    def put(self, folder: Path, name: str, last: str, done: Callable[[], object]) -> None:
        """Keep a copy of a folder's files.

        Args:
            last: the file that is written last: where it is, all are.
            done: called after each file.
        """
        ...

    def remove(self, name: str) -> None:
        """Delete a folder and all that is in it."""
        ...

    def idle(self, name: str, since: datetime) -> list[str]:
        """List the folders in a folder in which nothing was written since then.

        Raises:
            StorageError: it was not told.
        """
        ...


@dataclass(frozen=True)
class FolderCabinet:
    """A cabinet on this machine's disk, or on a volume."""

    root: Path

    def uri(self, name: str) -> str:
        """See `Cabinet.uri`."""
        return str(self.root / name)

    def read(self, name: str) -> bytes | None:
        """See `Cabinet.read`."""
        path = self.root / name
        with disk_errors(path):
            return path.read_bytes() if path.is_file() else None

    def write(self, name: str, content: bytes) -> None:
        """See `Cabinet.write`."""
        write_whole(self.root / name, content)

    def names(self, name: str) -> list[str]:
        """See `Cabinet.names`; what begins with a dot is only being written."""
        folder = self.root / name
        with disk_errors(folder):
            paths = list(folder.iterdir()) if folder.is_dir() else []
        return [path.name for path in paths if path.is_file() and path.name[0] != "."]

    def folder(self, name: str, last: str) -> Path | None:
        """See `Cabinet.folder`."""
        path = self.root / name
        return path if (path / last).is_file() else None

    def put(self, folder: Path, name: str, last: str, done: Callable[[], object]) -> None:
        """See `Cabinet.put`: the folder is renamed when it is whole."""
        with whole_folder(self.root / name) as scratch:
            for path in sorted(folder.iterdir()):
                link_or_copy(path, scratch / path.name)
                done()

    def remove(self, name: str) -> None:
        """See `Cabinet.remove`."""
        path = self.root / name
        if path.is_file():  # as earlier versions kept a journal
            path.unlink(missing_ok=True)
        shutil.rmtree(path, ignore_errors=True)

    def idle(self, name: str, since: datetime) -> list[str]:
        """See `Cabinet.idle`."""
        folder = self.root / name
        with disk_errors(folder):
            inner = [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
            return [path.name for path in inner if _written(path) < since.timestamp()]


@dataclass(frozen=True)
class BucketCabinet:
    """A cabinet in the party's private S3 store."""

    library: Library
    root: str
    """`s3://bucket/prefix`."""

    def uri(self, name: str) -> str:
        """See `Cabinet.uri`."""
        return f"{self.root}/{name}"

    def read(self, name: str) -> bytes | None:
        """See `Cabinet.read`."""
        try:
            return self.library.read(self.uri(name), LARGEST_NOTE)
        except NotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """See `Cabinet.write`."""
        self.library.write(self.uri(name), content)

    def names(self, name: str) -> list[str]:
        """See `Cabinet.names`."""
        return list(self.library.sizes(self.uri(name)))

    def folder(self, name: str, last: str) -> Path | None:
        """See `Cabinet.folder`."""
        whole = last in self.library.sizes(self.uri(name))
        return self.library.folder(self.uri(name), ("*",)) if whole else None

    def put(self, folder: Path, name: str, last: str, done: Callable[[], object]) -> None:
        """See `Cabinet.put`."""
        self.library.put_folder(folder, self.uri(name), last, done)

    def remove(self, name: str) -> None:
        """See `Cabinet.remove`."""
        self.library.remove(self.uri(name))

    def idle(self, name: str, since: datetime) -> list[str]:
        """See `Cabinet.idle`."""
        newest: dict[str, datetime] = {}
        for key, at in self.library.written(self.uri(name)).items():
            inner = key.partition("/")[0]
            newest[inner] = max(at, newest.get(inner, at))
        return [inner for inner, at in newest.items() if at < since]


def _written(folder: Path) -> float:
    """Say when something in a folder was made, changed or renamed last; seconds since 1970."""
    return max(path.lstat().st_ctime for path in (folder, *folder.rglob("*")))


def cabinet_of(location: str, library: Library) -> Cabinet:
    """Open the cabinet at `file:///folder` or `s3://bucket/prefix`."""
    if location.startswith("s3://"):
        return BucketCabinet(library, location.rstrip("/"))
    return FolderCabinet(Path(location.removeprefix("file://")))
