"""Reads and writes files below a folder that others may change at any moment.

Links below the root are not followed, in any part of a path: each folder is opened relative to its
parent, so the checked file is the file used. Only regular files are read; opening does not block on
pipes.
"""

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from offsite.errors import InputError
from offsite.store.disk import NO_HARD_LINKS, save, write_new

AS_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def folder_below(root: Path, name: str, *, make: bool = False) -> Iterator[int]:
    """Open a folder below a root; yields its descriptor.

    Args:
        name: Its parts, joined by `/`; empty: the root.
        make: Whether to create missing folders.

    Raises:
        FileNotFoundError: It does not exist.
        InputError: A part of it is a link, or not a folder.
    """
    if make:
        root.mkdir(parents=True, exist_ok=True)
    at = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in filter(None, name.split("/")):
            if part in (".", ".."):
                raise _irregular(root / name)
            inner = _inner(part, at, root / name, make)
            os.close(at)
            at = inner
        yield at
    finally:
        os.close(at)


def read_below(root: Path, name: str, most: int) -> bytes:
    """Read a file of at most `most` bytes.

    Raises:
        FileNotFoundError: It does not exist.
        InputError: It is not a regular file, or too large.
    """
    parent, _, last = name.rpartition("/")
    with (
        folder_below(root, parent) as at,
        regular_file(last, at, root / name) as file,
        open(file, "rb", closefd=False) as opened,
    ):
        content = opened.read(most + 1)
    if len(content) > most:
        raise too_large(root / name, most)
    return content


def write_below(root: Path, name: str, content: bytes) -> None:
    """Write a file atomically and durably."""
    with _written(root, name, content) as (scratch, last, at):
        os.rename(scratch, last, src_dir_fd=at, dst_dir_fd=at)


def add_below(root: Path, name: str, content: bytes) -> bool:
    """Create a file atomically; returns whether it is new.

    Of several processes that create it at once, also on several machines with a shared disk,
    exactly one gets True.
    """
    with _written(root, name, content) as (scratch, last, at), suppress(FileExistsError):
        try:
            os.link(scratch, last, src_dir_fd=at, dst_dir_fd=at, follow_symlinks=False)
        except OSError as error:
            if error.errno not in NO_HARD_LINKS:
                raise
            _add_plainly(last, at, content)
        return True
    return False


def _add_plainly(name: str, at: int, content: bytes) -> None:
    """Create a file without a hard link. A power failure may leave a partial file."""
    with new_file(name, at) as file:
        try:
            save(file, content)
        except BaseException:
            os.unlink(name, dir_fd=at)
            raise


@contextmanager
def _written(root: Path, name: str, content: bytes) -> Iterator[tuple[str, str, int]]:
    """Write a temporary file beside the target; yields its name, the target's, and their folder."""
    parent, _, last = name.rpartition("/")
    with folder_below(root, parent, make=True) as at:
        scratch = f".{secrets.token_hex(8)}.partial"
        try:
            write_new(Path(scratch), content, at=at)
            yield scratch, last, at
        finally:
            with suppress(FileNotFoundError):
                os.unlink(scratch, dir_fd=at)


def files_below(root: Path, name: str) -> list[str]:
    """List the regular files in a folder. Names with a leading dot are temporary files."""
    with folder_below(root, name) as at, os.scandir(at) as found:
        return [e.name for e in found if e.is_file(follow_symlinks=False) and e.name[0] != "."]


def remove_below(root: Path, name: str) -> None:
    """Delete a file, or a folder with its content; of a link, only the link."""
    parent, _, last = name.rpartition("/")
    with suppress(FileNotFoundError), folder_below(root, parent) as at:
        remove_at(last, at)


def changed_below(root: Path, name: str) -> dict[str, float]:
    """Return when each folder in a folder last changed, in seconds since 1970."""
    with folder_below(root, name) as at:
        with os.scandir(at) as found:
            inner = [entry.name for entry in found if entry.is_dir(follow_symlinks=False)]
        return {each: _changed(each, at) for each in inner}


def _changed(name: str, at: int) -> float:
    # ctime cannot be set back, unlike mtime
    newest = os.stat(name, dir_fd=at, follow_symlinks=False).st_ctime
    with suppress(RecursionError):  # nesting this deep is malicious
        for _, folders, files, inner in os.fwalk(name, dir_fd=at):
            for each in (*folders, *files):
                with suppress(FileNotFoundError):
                    found = os.stat(each, dir_fd=inner, follow_symlinks=False)
                    newest = max(newest, found.st_ctime)
    return newest


def remove_at(name: str, at: int) -> None:
    with suppress(FileNotFoundError):
        if stat.S_ISDIR(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode):
            with suppress(RecursionError):
                shutil.rmtree(name, ignore_errors=True, dir_fd=at)
        else:
            os.unlink(name, dir_fd=at)


def _inner(name: str, at: int, what: Path, make: bool) -> int:
    try:
        return open_at(name, AS_FOLDER, at, what)
    except FileNotFoundError:
        if not make:
            raise
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=at)
    return open_at(name, AS_FOLDER, at, what)


def open_at(name: str, flags: int, at: int, what: Path) -> int:
    try:
        return os.open(name, flags, dir_fd=at)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO):
            raise _irregular(what) from error
        raise


def new_file(name: str, at: int) -> BinaryIO:
    return open(os.open(name, _NEW, 0o600, dir_fd=at), "wb")


@contextmanager
def regular_file(name: str, at: int, what: Path) -> Iterator[int]:
    """Open a regular file for reading."""
    with closing(open_at(name, _FILE, at, what)) as file:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise _irregular(what)
        yield file


@contextmanager
def closing(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _irregular(what: Path) -> InputError:
    return InputError(
        f"{what} is not a regular file, or its path has a link or special file in it, which is "
        "not followed: find out where it comes from, and remove it"
    )


def too_large(what: Path, most: int) -> InputError:
    return InputError(f"{what} is larger than the allowed {most} bytes")
