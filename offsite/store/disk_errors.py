"""Translates operating system errors about a disk."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from offsite.errors import DiskFullError, InputError, OffsiteError, StorageError

_LASTING = (
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG),
    *(errno.EROFS, errno.EACCES, errno.ELOOP),
)
"""Errors that persist until the user fixes their cause."""
_HINTS = {
    errno.EACCES: "; check its owner and permissions",
    errno.EROFS: "; choose another place",
    errno.ENOTDIR: "; a part of the path is a file",
}
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def disk_errors(where: Path) -> Iterator[None]:
    """Translate operating system errors to our error classes.

    Raises:
        DiskFullError: No space or quota is left for `where`.
        InputError: It is of the wrong kind, not accessible, or its name is too long.
        StorageError: The disk failed otherwise.
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
                f"no space is left for {where} ({reason}); free some space there"
            ) from error
        kind = InputError if number in _LASTING else StorageError
        reason = os.strerror(number).lower() + _HINTS.get(number, "")
        raise kind(f"cannot use {where}: {reason}") from error


def check_room(folder: Path, size: int) -> None:
    """Check that a disk has enough free space.

    Args:
        size: Required bytes.

    Raises:
        DiskFullError: It has not.
    """
    free = shutil.disk_usage(folder).free
    if free < size:
        raise DiskFullError(
            f"{folder} has {free >> 20} MiB of free space, but the result takes {size >> 20} "
            "MiB; free some space there"
        )


def _system_error(error: Exception) -> int | None:
    """Return the operating system's number of an error.

    Rust libraries (safetensors, tokenizers) raise their own classes, some a bare `Exception`, with
    the number only in the message.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else None
