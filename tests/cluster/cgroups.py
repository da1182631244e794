"""The control groups of a node: one folder of its own in each hierarchy of cgroup v1.

A container that runs without a node has them, too, and one in the hierarchy of cgroup v2, which
has no controllers here.

The node sees its folders as the roots (a cgroup namespace). They outlive its processes, and tell
which processes are its own, whatever became of the one that started it.
"""

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PREFIX = "offsite-"
"""That of the names of all nodes' groups, and of containers that run without a node."""

_PATIENCE = 20.0
_PAUSE = 0.02


def hierarchies() -> list[str]:
    """Name the hierarchies by their controllers, as in `cpu,cpuacct`.

    Raises:
        RuntimeError: the machine has none with the controllers that a kubelet needs.
    """
    lines = Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
    names = [name for line in lines if (name := line.split(":")[1])]
    if not {"cpu", "memory", "pids"} <= set(",".join(names).split(",")):
        raise RuntimeError(
            "the test cluster's own node needs cgroup v1, which this machine lacks: "
            "name another cluster, such as one of kind, in OFFSITE_E2E_KUBECONFIG"
        )
    return names


def join(group: str, pid: int) -> None:
    """Put a process in its group in each hierarchy; make the groups where they are missing."""
    for folder in _folders(group):
        folder.mkdir(exist_ok=True)
        if (folder / "cpuset.cpus").exists():
            for name in ("cpuset.cpus", "cpuset.mems"):
                (folder / name).write_text((folder.parent / name).read_text())
        (folder / "cgroup.procs").write_text(str(pid))


def first_process(group: str) -> int | None:
    """Find the first process of the PID namespace that lives in a group."""
    return next((pid for pid in _members(_folders(group)[0]) if _pids(pid)[-1:] == ["1"]), None)


def processes(group: str) -> set[int]:
    """List the processes in a group and in all below it."""
    return {pid for folder in tree(_folders(group)[0]) for pid in _members(folder)}


def sweep(known: Iterable[str]) -> None:
    """Remove the groups that nobody knows and no process is in."""
    names = {folder.name for place in places() for folder in place.glob(f"{PREFIX}*")}
    for folder in (folder for name in names - {*known} for folder in _groups(name)):
        with suppress(OSError):  # somebody is in there
            folder.rmdir()


def remove(group: str) -> None:
    """Kill every process in a group and in those below it, and remove them.

    Raises:
        RuntimeError: a process does not end.
    """
    end = time.monotonic() + _PATIENCE
    while left := _groups(group):
        for pid in processes(group):
            _kill(pid)
        for folder in left:
            with suppress(OSError):  # a process that was killed takes a moment to leave it
                folder.rmdir()
        if time.monotonic() > end:
            raise RuntimeError(f"the control group {group} is still in use: {processes(group)}")
        time.sleep(_PAUSE)


def mount_point(hierarchy: str) -> Path:
    """Give the place where a hierarchy is mounted by custom."""
    return ROOT / hierarchy.removeprefix("name=")


def places() -> list[Path]:
    """List where hierarchies are mounted, also that of cgroup v2."""
    unified = ROOT / "unified"
    return [*map(mount_point, hierarchies()), *([unified] if unified.exists() else [])]


def tree(root: Path) -> list[Path]:
    """List a group and those below it, the lowest first; some may be removed meanwhile."""
    return [Path(folder) for folder, _, _ in os.walk(root, topdown=False)]


def _folders(group: str) -> list[Path]:
    return [mount_point(hierarchy) / group for hierarchy in hierarchies()]


def _groups(group: str) -> list[Path]:
    """List the folders of a group and of those below it, in every hierarchy."""
    return [folder for place in places() for folder in tree(place / group)]


def _members(folder: Path) -> list[int]:
    try:
        return [int(line) for line in (folder / "cgroup.procs").read_text().split()]
    except OSError:  # it was removed meanwhile
        return []


def _pids(pid: int) -> list[str]:
    """List the ids of a process, from our PID namespace's to its own."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:  # it ended meanwhile
        return []
    return next(line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:"))


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # it may be our own child
