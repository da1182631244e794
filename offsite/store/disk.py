"""Writes files and folders atomically."""

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit
from urllib.request import url2pathname

from offsite.errors import InputError
from offsite.store.disk_errors import disk_errors

NO_HARD_LINKS = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK}
"""Errors of file systems without hard links, such as SMB shares and FUSE mounts."""
_FOLDER, _FILE = 0o700, 0o600
"""Modes for access by the owner only."""


def local_path(location: str) -> Path:
    """Convert a location to a path: a `file:///` URI, or a plain path.

    Raises:
        InputError: The path contains a null character.
    """
    uri = location.startswith("file://")
    path = url2pathname(urlsplit(location).path) if uri else location
    if "\0" in path:
        raise InputError(f"{location!r} is not a path: it contains a null character")
    return Path(path)


def user_path(location: str) -> Path:
    """Convert a location of a user of this machine to a path; `~` is their home folder.

    Raises:
        InputError: It contains a null character, or names a home folder that does not exist.
    """
    try:
        return local_path(location).expanduser()
    except RuntimeError as error:
        raise InputError(
            f"{location} names a home folder that does not exist; write the whole path"
        ) from error


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Fill a new folder that is renamed to `target` when the `with` block succeeds.

    It replaces an older `target`. On failure the new folder is deleted; leftovers of a killed
    process are deleted by the next call. Callers must not fill one target concurrently.
    """
    scratch = target.with_name(f".{target.name}.partial")
    with disk_errors(target), new_folder(target.parent):
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(_FOLDER)
        try:
            yield scratch
            shutil.rmtree(target, ignore_errors=True)
            scratch.rename(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def link_or_copy(source: Path, target: Path) -> None:
    """Hard-link a file that no longer changes, or copy it to another disk."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
        target.chmod(_FILE)


@contextmanager
def privately() -> Iterator[None]:
    """Restrict all files that this process creates in the `with` block to their owner.

    For files that libraries write; the functions of this module do it anyway.
    """
    before = os.umask(0o777 & ~_FOLDER)
    try:
        yield
    finally:
        os.umask(before)


def private_opener(path: str, flags: int) -> int:
    """Opener for `open`; a new file is accessible to its owner only."""
    return os.open(path, flags, _FILE)


def tighten(folder: Path) -> None:
    """Remove the access of others to a folder and to the files in it.

    Skips files of other owners, shared folders such as /tmp, and files with several hard links.
    """
    status = folder.stat()
    if status.st_uid != os.geteuid() or status.st_mode & stat.S_ISVTX:
        return
    _close(folder, status, _FOLDER)
    for path in folder.iterdir():
        found = path.lstat()
        if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_nlink == 1:
            _close(path, found, _FILE)


def _close(path: Path, status: os.stat_result, mode: int) -> None:
    if stat.S_IMODE(status.st_mode) & ~mode:
        path.chmod(stat.S_IMODE(status.st_mode) & mode)


def publish(folder: Path) -> None:
    """Apply the modes of the user's umask to a folder of files."""
    mask = os.umask(0o077)
    os.umask(mask)
    for path in folder.iterdir():
        path.chmod(0o666 & ~mask)
    folder.chmod(0o777 & ~mask)


def make_folders(path: Path, mode: int = _FOLDER) -> None:
    """Create a folder and its parents."""
    for folder in reversed((path, *path.parents)):
        if not folder.exists():
            folder.mkdir(mode, exist_ok=True)


@contextmanager
def new_folder(path: Path, mode: int = _FOLDER) -> Iterator[None]:
    """Create a folder and its parents; remove the new ones on failure."""
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        make_folders(path, mode)
        path.mkdir(exist_ok=True)  # fails if a file has that name
        yield
    except BaseException:
        for folder in made:
            with suppress(OSError):  # another process may have put files there
                folder.rmdir()
        raise


def write_whole(path: Path, content: bytes, *, shared: bool = False) -> None:
    """Write a file atomically and durably.

    Args:
        shared: Whether others may read it, subject to the umask. Otherwise the file, and every
            folder created for it, is accessible to its owner only, whatever the umask.

    Raises:
        InputError: A folder has that name; else as for `disk_errors`.
    """
    mode, folders = (0o644, 0o777) if shared else (_FILE, _FOLDER)
    with disk_errors(path), new_folder(path.parent, folders):
        if path.is_dir():
            raise InputError(f"{path} is a folder; name a file")
        scratch = path.with_name(f".{secrets.token_hex(8)}.partial")
        try:
            write_new(scratch, content, mode)
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)


def write_new(path: Path, content: bytes, mode: int = _FILE, at: int | None = None) -> None:
    """Create a file that gets its name when it is complete and on the disk (open(2), O_TMPFILE).

    kill -9 then leaves nothing behind. On systems without nameless files, it has its name at once.

    Args:
        at: Descriptor of the folder that `path` is relative to.

    Raises:
        FileExistsError: The name is taken.
    """
    if not _write_nameless(path, content, mode, at):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode, dir_fd=at)
        with open(opened, "wb") as file:
            save(file, content)


def _write_nameless(path: Path, content: bytes, mode: int, at: int | None) -> bool:
    """Write a file and name it afterwards; False: the system or file system does not support it."""
    try:
        opened = os.open(path.parent, os.O_TMPFILE | os.O_WRONLY, mode, dir_fd=at)
    except (AttributeError, OSError):
        return False
    with open(opened, "wb") as file:
        save(file, content)
        try:
            # Python follows the link only if exactly one directory descriptor is passed
            os.link(f"/proc/self/fd/{opened}", path, src_dir_fd=opened, dst_dir_fd=at)
        except OSError as error:
            if error.errno not in NO_HARD_LINKS:
                raise
            return False
    return True


def save(file: BinaryIO, content: bytes) -> None:
    """Write the whole content, and wait until it is on the disk."""
    file.write(content)
    file.flush()
    os.fsync(file.fileno())
