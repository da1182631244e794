"""Starting nodes, ending them, and removing what a killed run left behind."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from cluster import addons, binaries, certificates, cgroups, debian, network
from cluster.node import Node, all_nodes, nodes
from cluster.processes import BOUND, spawn, wait_until
from cluster.supervisor import LINK, STARTED

_HERE = Path(__file__).parent
_PATIENCE = 120.0
_TOLD = 1500
"""Characters of each log that a failure tells."""


@contextmanager
def running_node(name: str) -> Iterator[Node]:
    """Run a node while the `with` block runs; it ends with the thread that started it."""
    node = start(name)
    try:
        yield node
    finally:
        remove(name)


def start(name: str, *, detached: bool = False) -> Node:
    """Start a node and wait until pods can run in it.

    Args:
        detached: whether it outlives the process that started it.

    Raises:
        RuntimeError: one of that name is there already, or it cannot be started.
    """
    if os.geteuid() != 0:
        raise RuntimeError("a node of the test cluster needs root")
    debian.install()
    node = Node(name)
    with _locked(name):
        if node.folder.exists():
            raise RuntimeError(f"there is a node {name} already: `make cluster-down` removes it")
        try:
            _fill(node)
            _enter(node, () if detached else BOUND)
            addons.install(node)
        except RuntimeError as error:
            told = _told(node)
            _remove(node)
            raise RuntimeError(f"{error}\n{told}") from error
        except BaseException:
            _remove(node)
            raise
    return node


def remove(name: str) -> None:
    """End a node, if it runs, and remove all that is left of it."""
    with _locked(name):
        _remove(Node(name))


def remove_dead() -> list[str]:
    """Remove what is left of nodes that no longer run; name them."""
    dead = []
    for node in all_nodes():
        with suppress(Timeout), _locked(node.name, seconds=0):  # else it is just being started
            if node.first_process is None:
                dead.append(node.name)
    for name in dead:
        remove(name)
    for group in cgroups.empty_groups():  # of a node whose folder somebody else has removed
        cgroups.remove(group)
    return dead


def _told(node: Node) -> str:
    """Collect the ends of the components' logs, which go with the node."""
    logs = sorted((node.folder / "log").glob("*.log"))
    ends = {path.stem: path.read_text("utf-8", "replace")[-_TOLD:] for path in logs}
    return "\n".join(f"--- {name}\n{end}" for name, end in ends.items())


def _locked(name: str, seconds: float = _PATIENCE) -> FileLock:
    nodes().mkdir(parents=True, exist_ok=True)
    return FileLock(nodes() / f"{name}.lock", timeout=seconds)


def _fill(node: Node) -> None:
    """Make the folder with what the node reads."""
    node.folder.mkdir(mode=0o700)
    programs = node.folder / "bin"
    for folder in (programs, node.folder / "log"):
        folder.mkdir()
    shutil.copytree(_HERE / "config", node.folder / "config")
    shutil.copy(binaries.kube_router(), programs / "kube-router")
    shutil.copy(binaries.kube(), programs / "kube")
    for name in binaries.COMPONENTS:
        (programs / name).symlink_to("kube")


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
