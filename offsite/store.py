"""The exchange point between the parties: a folder, for parties that share a machine.

A bundle lies at `<sender>/<recipient>/<name>/`. It appears there whole or not at all.
"""

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from offsite.errors import BundleError, DiskFullError, InputError, StorageError


@contextmanager
def disk_errors(where: Path) -> Iterator[None]:
    """Turn what the operating system says of a full or broken disk into our errors.

    Raises:
        DiskFullError: no space, or no quota, is left where `where` lies.
        StorageError: anything else that the disk refused.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(f"no space is left for {where}; make room there") from error
        raise StorageError(f"cannot use {where}: {error}") from error


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Fill a new folder that becomes `target` when the `with` block ends, and not before.

    An older `target` is replaced. On failure nothing is left.
    """
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            yield scratch
            scratch.chmod(0o755)
            shutil.rmtree(target, ignore_errors=True)
            scratch.rename(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


@dataclass(frozen=True)
class FolderExchange:
    """An exchange point in a folder that both parties reach."""

    root: Path

    @classmethod
    def from_uri(cls, uri: str) -> "FolderExchange":
        """Open the exchange of a `file:///path` URI, or of a plain path.

        Raises:
            InputError: it is of another kind.
        """
        path = uri.removeprefix("file://")
        if "://" in path or not path:
            raise InputError(f"exchange {uri!r} is not known; use file:///path/of/a/folder")
        return cls(Path(path).expanduser().resolve())

    def path(self, sender: str, recipient: str, name: str) -> Path:
        """Name the place of a bundle, whether it is there or not."""
        return self.root / sender / recipient / name

    def publish(self, folder: Path, sender: str, recipient: str, name: str) -> str:
        """Copy a finished bundle to its place, and give its URI.

        Raises:
            DiskFullError, StorageError: the exchange did not take it; nothing is left there.
        """
        target = self.path(sender, recipient, name)
        with whole_folder(target) as scratch:
            for path in folder.iterdir():
                shutil.copyfile(path, scratch / path.name)
        return target.as_uri()

    def fetch(self, sender: str, recipient: str, name: str, target: Path) -> None:
        """Copy a bundle to a folder of one's own, where nobody else changes it.

        Nothing but regular files is copied, and what they hold is not looked at.

        Raises:
            BundleError: it holds a link or a folder.
            StorageError: it is not there.
        """
        source = self.path(sender, recipient, name)
        with whole_folder(target) as scratch:
            for path in source.iterdir():
                if path.is_symlink() or not path.is_file():
                    raise BundleError(f"{str(path)!r} is not a regular file; a bundle has no other")
                shutil.copyfile(path, scratch / path.name)
