"""The exchange point between the parties: a folder, for parties that share a machine.

A bundle lies at `<sender>/<recipient>/<name>/`. It appears there whole or not at all.
"""

import errno
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from offsite.errors import BundleError, DiskFullError, InputError, OffsiteError, StorageError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def disk_errors(where: Path) -> Iterator[None]:
    """Turn what the operating system says of a full or broken disk into our errors.

    Raises:
        DiskFullError: no space, or no quota, is left where `where` lies.
        StorageError: anything else that the disk refused.
    """
    try:
        yield
    except OffsiteError:
        raise
    except Exception as error:
        number = _system_error(error)
        if number is None:
            raise
        if number in _FULL:
            reason = os.strerror(number).lower()
            raise DiskFullError(
                f"no space is left for {where} ({reason}); make room there"
            ) from error
        raise StorageError(f"cannot use {where}: {error}") from error


def _system_error(error: Exception) -> int | None:
    """Find the operating system's number of an error.

    Libraries in Rust (safetensors, tokenizers) raise classes of their own, some a bare `Exception`,
    and tell the number in the message alone.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    told = re.search(r"\(os error (\d+)\)", str(error))
    return int(told[1]) if told else None


def local_path(location: str) -> Path:
    """Find the path that a location names: a `file:///` URI, or a path as it is."""
    if location.startswith("file://"):
        return Path(url2pathname(urlsplit(location).path))
    return Path(location)


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Fill a new folder that becomes `target` when the `with` block ends, and not before.

    An older `target` is replaced. On failure nothing is left, not even by a process that was
    killed: the next one that fills `target` clears it away. Two at once are the caller's to avoid.
    """
    scratch = target.with_name(f".{target.name}.partial")
    with disk_errors(target), new_folder(target.parent):
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        try:
            yield scratch
            shutil.rmtree(target, ignore_errors=True)
            scratch.rename(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def new_folder(path: Path) -> Iterator[None]:
    """Make a folder and those above it; take those that are new away again on failure."""
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for folder in made:
            with suppress(OSError):  # somebody else may have put something there
                folder.rmdir()
        raise


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
        # file://name/… would be a folder of another machine
        if not uri or not ("://" not in uri or uri.startswith("file:///")):
            raise InputError(f"exchange {uri!r} is not known; use file:///path/of/a/folder")
        return cls(local_path(uri).expanduser().resolve())

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

    def fetch(
        self, sender: str, recipient: str, name: str, sizes: Mapping[str, int], target: Path
    ) -> None:
        """Copy files of a bundle to a folder of one's own, where nobody else changes them.

        Args:
            sizes: the files to copy, and their sizes in bytes. Whatever else lies there stays.

        Raises:
            BundleError: a file is not there, no regular file, or of another size.
        """
        source = self.path(sender, recipient, name)
        with whole_folder(target) as scratch:
            for file, size in sizes.items():
                path = source / file
                if path.is_symlink() or not path.is_file():
                    raise BundleError(f"{str(path)!r} is missing, or not a regular file")
                if path.stat().st_size != size:
                    raise BundleError(f"{path} is not {size} bytes long: it was damaged or changed")
                shutil.copyfile(path, scratch / file, follow_symlinks=False)
