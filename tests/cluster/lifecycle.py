"""Starting nodes, ending them, and removing what a killed run left behind."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from cluster import addons, binaries, certificates, cgroups, debian, machine, network, stock
from cluster.node import READY, Node, all_nodes, whereabouts
from cluster.processes import BOUND, spawn, wait_until
from cluster.supervisor import LINK, STARTED

_HERE = Path(__file__).parent
_PATIENCE = 120.0
_TOLD = 1500
"""Characters of each log that a failure tells."""


@contextmanager
def running_node(name: str) -> Iterator[Node]:
    """Run a node while the `with` block runs; it ends with the thread that started it."""
    _prepare()
    node = Node(name)
    with _locked(node):
        if node.folder.exists():
            raise RuntimeError(f"there is a node {name} already: `make cluster-down` removes it")
        _start(node, BOUND)
    try:
        yield node
    finally:
        remove(node)


def ensure(name: str) -> Node:
    """Start a node that outlives us, unless it runs. One that was left half-started is replaced.

    Raises:
        RuntimeError: it cannot be started.
        Timeout: somebody else is just starting or ending it, and not done in time.
    """
    _prepare()
    node = Node(name)
    with _locked(node):
        if not node.is_ready:
            _remove(node)
            _start(node, ())
    return node


def remove(node: Node) -> None:
    """End a node, if it runs, and remove all that is left of it.

    Raises:
        Timeout: somebody else is just starting or ending it, and not done in time.
    """
    with _locked(node):
        _remove(node)
        _forget(node)


def remove_dead() -> list[Node]:
    """Remove what is left of nodes that no longer run, in whatever folder; tell which."""
    dead = [node for node in all_nodes() if _is_removed(node)]
    cgroups.sweep(node.group for node in all_nodes())
    return dead


def _prepare() -> None:
    machine.check()
    debian.install()


def _is_removed(node: Node) -> bool:
    with suppress(Timeout), _locked(node, seconds=0):  # else it is just being started, or ended
        if node.first_process is None:
            _remove(node)
            _forget(node)
            return True
    return False


def _start(node: Node, bound: tuple[str, ...]) -> None:
    """Start a node and wait until pods can run in it."""
    try:
        node.registration.unlink(missing_ok=True)
        node.registration.symlink_to(node.folder)
        _fill(node)
        _enter(node, bound)
        addons.install(node)
        (node.folder / READY).touch()
    except BaseException as error:
        told = _told(node)
        _remove(node)
        _forget(node)
        if isinstance(error, RuntimeError):
            raise RuntimeError(f"{error}\n{told}") from error
        raise


def _told(node: Node) -> str:
    """Collect the ends of the components' logs, which go with the node."""
    logs = sorted((node.folder / "log").glob("*.log"))
    ends = {path.stem: path.read_text("utf-8", "replace")[-_TOLD:] for path in logs}
    return "\n".join(f"--- {name}\n{end}" for name, end in ends.items())


def _locked(node: Node, seconds: float = _PATIENCE) -> FileLock:
    whereabouts().mkdir(parents=True, exist_ok=True)
    return FileLock(_lock(node), timeout=seconds)


def _lock(node: Node) -> Path:
    return node.registration.with_suffix(".lock")


def _fill(node: Node) -> None:
    """Make the folder with what the node reads."""
    node.folder.mkdir(mode=0o700, parents=True)
    programs = node.folder / "bin"
    for folder in (programs, node.folder / "log"):
        folder.mkdir()
    shutil.copytree(_HERE / "config", node.folder / "config")
    stock.give(node.folder / "var/lib/containerd")
    shutil.copy(binaries.kube_router(), programs / "kube-router")
    for name in binaries.COMPONENTS:
        source = binaries.component(name).resolve()  # most names are of one binary
        if not (programs / source.name).exists():
            shutil.copy(source, programs)
        if source.name != name:
            (programs / name).symlink_to(source.name)


def _enter(node: Node, bound: tuple[str, ...]) -> None:
    """Start the first process, give it its link and wait for the components."""
    log = node.folder / "log" / "supervisor.log"
    command = [sys.executable, "-m", "cluster.enter", str(node.folder), node.group]
    parent = spawn([*bound, *command], {**os.environ, "PYTHONPATH": str(_HERE.parent)}, log)
    wait_until(lambda: node.first_process is not None, parent, log)
    assert node.first_process is not None
    link = network.claim(node.first_process, node.hardware)
    certificates.make(node.folder, link)
    written = node.folder / LINK.with_suffix(".partial")
    written.write_text(str(link.index), encoding="ascii")
    written.replace(node.folder / LINK)
    wait_until((node.folder / STARTED).exists, parent, log)


def _remove(node: Node) -> None:
    cgroups.remove(node.group)
    network.remove(node.hardware)
    if node.folder.exists():
        shutil.rmtree(node.folder)


def _forget(node: Node) -> None:
    """Remove what a node was found by; last, and by who holds its lock."""
    node.registration.unlink(missing_ok=True)
    _lock(node).unlink(missing_ok=True)  # whoever waits for it takes another one
