"""Persistent notes and folders of a party: in a folder, or below a prefix of its private store."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from offsite.errors import NotFoundError
from offsite.store.beneath import (
    add_below,
    changed_below,
    files_below,
    read_below,
    remove_below,
    write_below,
)
from offsite.store.disk import link_or_copy
from offsite.store.disk_errors import disk_errors
from offsite.store.handed import put_below, take_below
from offsite.store.private_store import PrivateStore

LARGEST_NOTE = 64 << 20


class ArtifactStore(Protocol):
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

    def add(self, name: str, content: bytes) -> bool:
        """Write a note that is not there yet; tell whether it is new.

        Of several pods that write one note at once, one is told so.

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

        Others may change it meanwhile: a step that holds keys uses `take`.

        Args:
            last: the file that was written last.
        """
        ...

    def take(self, name: str, target: Path, most: int) -> bool:
        """Copy the files of a folder into a new one that nobody else sees; False: there is none.

        Args:
            most: bytes that all of them may have together.

        Raises:
            InputError: there is something else in it than regular files, or too much.
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
        """Delete a note, or a folder and all that is in it."""
        ...

    def idle(self, name: str, since: datetime) -> list[str]:
        """List the folders in a folder in which nothing was written since then.

        Raises:
            StorageError: it was not told.
        """
        ...


@dataclass(frozen=True)
class FolderArtifactStore:
    """An artifact store on a disk or a volume. Below its root no link is followed."""

    root: Path

    def uri(self, name: str) -> str:
        """See `ArtifactStore.uri`."""
        return str(self.root / name)

    def read(self, name: str) -> bytes | None:
        """See `ArtifactStore.read`."""
        with disk_errors(self.root / name), suppress(FileNotFoundError):
            return read_below(self.root, name, LARGEST_NOTE)
        return None

    def write(self, name: str, content: bytes) -> None:
        """See `ArtifactStore.write`."""
        with disk_errors(self.root / name):
            write_below(self.root, name, content)

    def add(self, name: str, content: bytes) -> bool:
        """See `ArtifactStore.add`."""
        with disk_errors(self.root / name):
            return add_below(self.root, name, content)

    def names(self, name: str) -> list[str]:
        """See `ArtifactStore.names`."""
        with disk_errors(self.root / name), suppress(FileNotFoundError):
            return files_below(self.root, name)
        return []

    def folder(self, name: str, last: str) -> Path | None:
        """See `ArtifactStore.folder`."""
        path = self.root / name
        return path if (path / last).is_file() else None

    def take(self, name: str, target: Path, most: int) -> bool:
        """See `ArtifactStore.take`."""
        with disk_errors(self.root / name), suppress(FileNotFoundError):
            take_below(self.root, name, target, most)
            return True
        return False

    def put(self, folder: Path, name: str, last: str, done: Callable[[], object]) -> None:
        """See `ArtifactStore.put`: the folder is renamed when it is whole."""
        with disk_errors(self.root / name):
            put_below(folder, self.root, name, done)

    def remove(self, name: str) -> None:
        """See `ArtifactStore.remove`."""
        with disk_errors(self.root / name):
            remove_below(self.root, name)

    def idle(self, name: str, since: datetime) -> list[str]:
        """See `ArtifactStore.idle`."""
        with disk_errors(self.root / name), suppress(FileNotFoundError):
            changed = changed_below(self.root, name)
            return [inner for inner, at in changed.items() if at < since.timestamp()]
        return []


@dataclass(frozen=True)
class BucketArtifactStore:
    """An artifact store in the party's private S3 store."""

    private_store: PrivateStore
    root: str
    """`s3://bucket/prefix`."""

    def uri(self, name: str) -> str:
        """See `ArtifactStore.uri`."""
        return f"{self.root}/{name}"

    def read(self, name: str) -> bytes | None:
        """See `ArtifactStore.read`."""
        try:
            return self.private_store.read(self.uri(name), LARGEST_NOTE)
        except NotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """See `ArtifactStore.write`."""
        self.private_store.write(self.uri(name), content)

    def add(self, name: str, content: bytes) -> bool:
        """See `ArtifactStore.add`."""
        return self.private_store.add(self.uri(name), content)

    def names(self, name: str) -> list[str]:
        """See `ArtifactStore.names`."""
        return list(self.private_store.sizes(self.uri(name)))

    def folder(self, name: str, last: str) -> Path | None:
        """See `ArtifactStore.folder`."""
        whole = last in self.private_store.sizes(self.uri(name))
        return self.private_store.folder(self.uri(name), ("*",)) if whole else None

    def take(self, name: str, target: Path, most: int) -> bool:
        """See `ArtifactStore.take`."""
        if not self.private_store.sizes(self.uri(name)):
            return False
        target.mkdir(mode=0o700)
        for path in self.private_store.folder(self.uri(name), ("*",), most).iterdir():
            link_or_copy(path, target / path.name)
        return True

    def put(self, folder: Path, name: str, last: str, done: Callable[[], object]) -> None:
        """See `ArtifactStore.put`."""
        self.private_store.put_folder(folder, self.uri(name), last, done)

    def remove(self, name: str) -> None:
        """See `ArtifactStore.remove`."""
        self.private_store.remove(self.uri(name))

    def idle(self, name: str, since: datetime) -> list[str]:
        """See `ArtifactStore.idle`."""
        newest: dict[str, datetime] = {}
        for key, at in self.private_store.written(self.uri(name)).items():
            inner = key.partition("/")[0]
            newest[inner] = max(at, newest.get(inner, at))
        return [inner for inner, at in newest.items() if at < since]


def artifact_store_of(location: str, private_store: PrivateStore) -> ArtifactStore:
    """Open the artifact store at `file:///folder` or `s3://bucket/prefix`."""
    if location.startswith("s3://"):
        return BucketArtifactStore(private_store, location.rstrip("/"))
    return FolderArtifactStore(Path(location.removeprefix("file://")))
