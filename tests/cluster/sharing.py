"""One node for all processes of a test run: the first that asks starts it, and ends it last."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
from filelock import FileLock, ReadWriteLock

from cluster.lifecycle import remove_dead, running_node
from cluster.node import Node
from cluster.processes import wait_for

_ENDS = 3600.0
"""Seconds within which every test run ends."""


def machine(folder: Path) -> ReadWriteLock:
    """Get the lock of this machine: to write, for tests that look whether anything of it changes.

    Args:
        folder: of the test run, for all its processes.
    """
    return ReadWriteLock(folder / "machine.db")


@contextmanager
def shared_node(name: str, folder: Path) -> Iterator[Node]:
    """Use the node of a test run while the `with` block runs.

    Args:
        name: of the node, if it is to be started.
        folder: of the test run, for all its processes.

    Raises:
        RuntimeError: it cannot be started.
    """
    started, user = folder / "started", folder / f"user-{os.getpid()}"
    with ExitStack() as stack:
        with machine(folder).read_lock(), _lock(folder):
            is_first = not started.exists()
            if is_first:
                remove_dead()  # what an earlier run left that was killed
                node = stack.enter_context(running_node(name))
                started.write_text(name, encoding="ascii")
            else:
                node = Node(started.read_text("ascii"))
            user.touch()
        try:
            yield node
        finally:
            user.unlink()
            if is_first:
                wait_for(lambda: _is_over(folder), _ENDS)
                with machine(folder).read_lock():
                    stack.close()


def _is_over(folder: Path) -> bool:
    """Whether no process uses the node any more; one that comes now starts another."""
    with _lock(folder):
        users = (int(path.name.removeprefix("user-")) for path in folder.glob("user-*"))
        if any(psutil.pid_exists(pid) for pid in users):
            return False
        (folder / "started").unlink()
    return True


def _lock(folder: Path) -> FileLock:
    return FileLock(folder / "node.lock")
