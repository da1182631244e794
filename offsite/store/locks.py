"""Locks between processes of one machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from offsite.errors import OffsiteError
from offsite.store.disk import make_folders, new_folder
from offsite.store.disk_errors import disk_errors


@contextmanager
def locked(path: Path, busy: str | None = None) -> Iterator[None]:
    """Hold a lock file, which is deleted afterwards.

    Args:
        busy: Error message if another process holds the lock; default: wait for it.

    Raises:
        OffsiteError: Another process holds the lock.
    """
    lock = FileLock(path, timeout=-1 if busy is None else 0, mode=0o600)
    with disk_errors(path), new_folder(path.parent):
        try:
            _acquire(lock, path.parent)
        except Timeout as error:
            raise OffsiteError(f"{busy} (lock file {path})") from error
        try:
            yield
        finally:
            # before the release: filelock does not acquire a lock on a deleted file
            path.unlink(missing_ok=True)
            lock.release()


def _acquire(lock: FileLock, folder: Path) -> None:
    """Acquire a lock. Its previous holder may just have removed the folder that it had created."""
    while True:
        try:
            lock.acquire()
        except FileNotFoundError:
            make_folders(folder)
        else:
            return
