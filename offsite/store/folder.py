"""A store in a folder, for parties that share a machine or a mounted disk."""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from offsite.errors import NotFoundError
from offsite.store.disk import write_whole
from offsite.store.disk_errors import disk_errors
from offsite.store.objects import too_large


@dataclass(frozen=True)
class FolderStore:
    """Objects as files below one folder. File permissions control access."""

    root: Path

    def _path(self, key: str) -> Path:
        return self.root.joinpath(*key.split("/"))

    def put(self, key: str, content: bytes) -> None:
        """Write an object; see `ObjectStore.put`."""
        write_whole(self._path(key), content, shared=True)

    def get(self, key: str, most: int) -> bytes:
        """Read an object; see `ObjectStore.get`. Links and pipes are not objects."""
        path = self._path(key)
        with disk_errors(path):
            try:
                file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            except (FileNotFoundError, NotADirectoryError) as error:
                raise NotFoundError(f"there is no {path}") from error
            with open(file, "rb") as opened:
                content = opened.read(most + 1)
        if len(content) > most:
            raise too_large(path, most)
        return content

    def sizes(self, prefix: str) -> dict[str, int]:
        """List objects; see `ObjectStore.sizes`."""
        folder, found = self._path(prefix.rstrip("/")), dict[str, int]()
        with disk_errors(folder):
            for path in folder.rglob("*"):
                # files that another process is writing or deleting may be missing
                with suppress(FileNotFoundError):
                    if not path.name.startswith(".") and not path.is_symlink() and path.is_file():
                        found[path.relative_to(self.root).as_posix()] = path.stat().st_size
        return found

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; see `ObjectStore.delete`."""
        for key in keys:
            with disk_errors(self._path(key)):
                self._path(key).unlink(missing_ok=True)

    def uri(self, key: str) -> str:
        """Return an object's URI; see `ObjectStore.uri`."""
        return self._path(key.rstrip("/")).as_uri()
