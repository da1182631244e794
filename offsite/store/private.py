"""Checks that files with secrets are readable by their owner only."""

import os
import stat
from pathlib import Path

from offsite.errors import InputError
from offsite.store.disk_errors import disk_errors


def read_private(path: Path, what: str) -> bytes:
    """Read a file of secrets.

    Args:
        what: Name of the file for errors.

    Raises:
        InputError: The file is missing, or readable by others.
        StorageError: The disk failed.
    """
    with disk_errors(path):
        try:
            with path.open("rb") as file:
                _refuse_open(path, what, os.fstat(file.fileno()))
                return file.read()
        except FileNotFoundError as error:
            raise InputError(f"there is no {what} at {path}; check the path") from error


def _refuse_open(path: Path, what: str, status: os.stat_result) -> None:
    allowed = stat.S_IRUSR | stat.S_IWUSR | stat.S_IXUSR
    # a Secret mounted by Kubernetes belongs to root, and is readable through its group
    if status.st_uid != os.geteuid():
        allowed |= stat.S_IRGRP
    if stat.S_IMODE(status.st_mode) & ~allowed:
        raise InputError(f"other users can read the {what} at {path}; run: chmod 600 {path}")
