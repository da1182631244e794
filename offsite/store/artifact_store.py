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
    """Notes and folders by name. Each write is atomic."""

    def uri(self, name: str) -> str:
        """Return the URI of a note or folder, for messages."""
        ...

    def read(self, name: str, most: int = LARGEST_NOTE) -> bytes | None:
        """Read a note of at most `most` bytes; None: it does not exist.

        Raises:
            StorageError: The store failed.
            OffsiteError: It is larger.
        """
        ...

    def write(self, name: str, content: bytes) -> None:
        """Write a note.

        Raises:
            StorageError: The store failed.
        """
        ...

    def add(self, name: str, content: bytes) -> bool:
        """Create a note; returns whether it is new.

        Of several pods that create one note at once, exactly one gets True.

        Raises:
            StorageError: The store failed.
        """
        ...

    def names(self, name: str) -> list[str]:
        """List the notes in a folder.

        Raises:
            StorageError: The store failed.
        """
        ...

    def folder(self, name: str, last: str) -> Path | None:
        """Return a folder on the local disk, to be read only; None: there is no complete one.

        Others may change it meanwhile, so steps that hold keys use `take`.

        Args:
            last: The file that was written last.
        """
        ...

    def take(self, name: str, target: Path, most: int) -> bool:
        """Copy the files of a folder into a new private one; False: there is none.

        Args:
            most: Limit on the total size in bytes.

        Raises:
            InputError: It contains other things than regular files, or is too large.
        """
        ...

    def put(self, folder: Path, name: str, last: str, done: Callable[[], object]) -> None:
        """Save a copy of a folder's files.

        Args:
            last: The file to write last, which marks the copy as complete.
            done: Called after each file.
        """
        ...

    def remove(self, name: str) -> None:
        """Delete a note, or a folder with its content."""
        ...

    def idle(self, name: str, since: datetime) -> list[str]:
        """List the folders in a folder without writes since a time.

        Raises:
            StorageError: The store failed.
        """
        ...


@dataclass(frozen=True)
class FolderArtifactStore:
    """An artifact store on a disk or volume. Links below its root are not followed."""

    root: Path

    def uri(self, name: str) -> str:
        """See `ArtifactStore.uri`."""
        return str(self.root / name)

    def read(self, name: str, most: int = LARGEST_NOTE) -> bytes | None:
        """See `ArtifactStore.read`."""
        with disk_errors(self.root / name), suppress(FileNotFoundError):
            return read_below(self.root, name, most)
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
        """See `ArtifactStore.put`. The folder is renamed when it is complete."""
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

    def read(self, name: str, most: int = LARGEST_NOTE) -> bytes | None:
        """See `ArtifactStore.read`."""
        try:
            return self.private_store.read(self.uri(name), most)
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
