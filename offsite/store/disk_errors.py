"""Translates errors of the operating system about a disk."""

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
"""What the same command meets again, until somebody mends it."""
_HINTS = {
    errno.EACCES: "; check its owner and permissions",
    errno.EROFS: "; choose another place",
    errno.ENOTDIR: "; a part of the path is a file",
}
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def disk_errors(where: Path) -> Iterator[None]:
    """Turn what the operating system says of a full or broken disk into our errors.

    Raises:
        DiskFullError: no space, or no quota, is left where `where` lies.
        InputError: it is of another kind, may not be used, or has too long a name.
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
        kind = InputError if number in _LASTING else StorageError
        reason = os.strerror(number).lower() + _HINTS.get(number, "")
        raise kind(f"cannot use {where}: {reason}") from error


def check_room(folder: Path, size: int) -> None:
    """Check, before something is made, that a disk has room for it.

    Args:
        size: in bytes.

    Raises:
        DiskFullError: it has not.
    """
    free = shutil.disk_usage(folder).free
    if free < size:
        raise DiskFullError(
            f"{folder} has room for {free >> 20} MiB, but what is to be made takes {size >> 20} "
            "MiB; make room there"
        )


def _system_error(error: Exception) -> int | None:
    """Find the operating system's number of an error.

    Libraries in Rust (safetensors, tokenizers) raise classes of their own, some a bare `Exception`,
    and tell the number in the message alone.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    told = re.search(r"\(os error (\d+)\)", str(error))
    return int(told[1]) if told else None
