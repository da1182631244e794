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
"""What file systems without hard links answer, such as SMB shares and FUSE mounts."""
_FOLDER, _FILE = 0o700, 0o600
"""Modes of what is its user's alone."""


def local_path(location: str) -> Path:
    """Find the path that a location names: a `file:///` URI, or a path as it is.

    Raises:
        InputError: no path can have that name.
    """
    uri = location.startswith("file://")
    path = url2pathname(urlsplit(location).path) if uri else location
    if "\0" in path:
        raise InputError(f"{location!r} is no path: it holds a null character")
    return Path(path)


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Fill a new folder that becomes `target` when the `with` block ends, and not before.

    An older `target` is replaced. On failure nothing is left, not even by a process that was
    killed: the next one that fills `target` clears it away. Two at once are the caller's to avoid.
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
    """Give a file that nobody changes any more a second place; on another disk, copy it."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
        target.chmod(_FILE)


@contextmanager
def privately() -> Iterator[None]:
    """Let all that this process makes while the `with` block runs be its user's alone.

    For what libraries write; what is written here is so anyway.
    """
    before = os.umask(0o777 & ~_FOLDER)
    try:
        yield
    finally:
        os.umask(before)


def private_opener(path: str, flags: int) -> int:
    """Open a file for `open`; a new one is its user's alone."""
    return os.open(path, flags, _FILE)


def tighten(folder: Path) -> None:
    """Keep others out of a folder, and out of the files in it, which its user may have made.

    What belongs to somebody else, is shared by all (as /tmp) or has another name elsewhere stays.
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
    """Give a folder of files the modes that its user's umask asks for."""
    mask = os.umask(0o077)
    os.umask(mask)
    for path in folder.iterdir():
        path.chmod(0o666 & ~mask)
    folder.chmod(0o777 & ~mask)


def make_folders(path: Path, mode: int = _FOLDER) -> None:
    """Make a folder and those above it."""
    for folder in reversed((path, *path.parents)):
        if not folder.exists():
            folder.mkdir(mode, exist_ok=True)


@contextmanager
def new_folder(path: Path, mode: int = _FOLDER) -> Iterator[None]:
    """Make a folder and those above it; take those that are new away again on failure."""
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        make_folders(path, mode)
        path.mkdir(exist_ok=True)  # tells if there is a file of that name
        yield
    except BaseException:
        for folder in made:
            with suppress(OSError):  # somebody else may have put something there
                folder.rmdir()
        raise


def write_whole(path: Path, content: bytes, *, shared: bool = False) -> None:
    """Write a file so that it is there whole or as it was before, also after a power cut.

    Args:
        shared: whether others may read it, as far as the umask lets them; else it is its user's
            alone, whatever the umask, and so is every folder that is made for it.

    Raises:
        InputError: there is a folder of that name; else as `disk_errors`.
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
    """Write a new file that gets its name when it is whole and on the disk (open(2), O_TMPFILE).

    So kill -9 leaves nothing of it. Where there are no files without a name, it has one at once.

    Args:
        at: descriptor of the folder that `path` is relative to.

    Raises:
        FileExistsError: there is something of that name.
    """
    if not _write_nameless(path, content, mode, at):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode, dir_fd=at)
        with open(opened, "wb") as file:
            save(file, content)


def _write_nameless(path: Path, content: bytes, mode: int, at: int | None) -> bool:
    """Write a file and name it afterwards; False: this system, or file system, cannot."""
    try:
        opened = os.open(path.parent, os.O_TMPFILE | os.O_WRONLY, mode, dir_fd=at)
    except (AttributeError, OSError):
        return False
    with open(opened, "wb") as file:
        save(file, content)
        try:
            # of the two directories, only one that is given makes Python follow the link
            os.link(f"/proc/self/fd/{opened}", path, src_dir_fd=opened, dst_dir_fd=at)
        except OSError as error:
            if error.errno not in NO_HARD_LINKS:
                raise
            return False
    return True


def save(file: BinaryIO, content: bytes) -> None:
    """Write all of a file, and wait until it is on the disk."""
    file.write(content)
    file.flush()
    os.fsync(file.fileno())
