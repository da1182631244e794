"""Opens the files of an image folder without following a link.

Others may be able to write to the folder, such as a volume that several people share. A link could
lead to a file that they may not read themselves.
"""

import errno
import os
import stat
from collections.abc import Sequence
from io import BufferedReader
from pathlib import Path

from offsite.errors import DataError
from offsite.text import printable

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_INNER = _FOLDER | os.O_NOFOLLOW
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LINKED = (errno.ELOOP, errno.ENOTDIR, errno.ENXIO)


def open_inside(root: Path, parts: Sequence[str], name: str) -> BufferedReader:
    """Open a regular file below a folder, relative to each folder on the way.

    Args:
        parts: Its path below the root.
        name: Its name in messages.

    Raises:
        OSError: It cannot be read.
        DataError: It, or a folder on the way, is a link; or it is not a regular file.
    """
    at = os.open(root, _FOLDER)
    try:
        for part in parts[:-1]:
            at = _exchanged(at, os.open(part, _INNER, dir_fd=at))
        file = os.open(parts[-1], _FILE, dir_fd=at)
    except OSError as error:
        if error.errno in _LINKED:
            raise irregular(name) from error
        raise
    finally:
        os.close(at)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise irregular(name)
    return open(file, "rb")


def _exchanged(old: int, new: int) -> int:
    os.close(old)
    return new


def irregular(name: str) -> DataError:
    """Build the error for a link, or another thing that is neither file nor folder."""
    return DataError(
        f"{name} is a link, or not a regular file; links are not followed, since they may lead out "
        "of the folder: copy the data with `cp -rL`"
    )


def check_name(part: str, name: str) -> None:
    """Check that the name of a file or folder can be shown.

    Raises:
        DataError: It has control characters or others without a glyph, or is not UTF-8.
    """
    if printable(part) != part:
        raise DataError(
            f"the name of {name} has characters that cannot be shown, or is not UTF-8; rename it"
        )
