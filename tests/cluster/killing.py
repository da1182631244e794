"""`kill -9` of a process in a pod, from outside of it: what is inside cannot kill its own first."""

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from cluster.namespaces import Namespace
from cluster.processes import wait_for


class Elsewhere(Exception):
    """The pod's processes are not on this machine."""


def kill(space: Namespace, pod: str, command: str = "") -> list[int]:
    """Kill the processes of a pod, with no chance to end well; give their ids.

    Args:
        command: only those whose command line has it.

    Raises:
        Elsewhere: no such process is on this machine, as it is where a node is a container of it.
    """
    statuses = space.get(f"pod/{pod}")["status"].get("containerStatuses", [])
    containers = {each.get("containerID", "").rpartition("/")[2] for each in statuses} - {""}
    found = [pid for pid in _processes(containers) if command in _read(pid, "cmdline")]
    if not found:
        raise Elsewhere(f"no process {command!r} of pod {pod} is on this machine")
    kill_all(found)
    return found


def kill_all(pids: Iterable[int]) -> None:
    """Kill processes, with no chance to end well; some may have ended with the first of them.

    Raises:
        ProcessLookupError: all have ended before.
    """
    killed = list[int]()
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
    if not killed:
        raise ProcessLookupError("they had ended before they were killed")


def started(uid: str, command: str, seconds: float = 300.0) -> list[int]:
    """Wait until a pod runs a command, which the API server tells too late of a short one.

    Args:
        uid: the pod's.

    Returns:
        the ids of the processes whose command line has it.

    Raises:
        RuntimeError: it takes too long, as it does where the pod is not on this machine.
    """
    # as the two drivers of control groups write it
    names, found = {uid, uid.replace("-", "_")}, list[int]()

    def look() -> bool:
        found[:] = [pid for pid in _processes(names) if command in _read(pid, "cmdline")]
        return bool(found)

    wait_for(look, seconds)
    return found


def _processes(groups: set[str]) -> list[int]:
    """List those in control groups whose names have one of some parts."""
    every = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
    return [pid for pid in every if any(each in _read(pid, "cgroup") for each in groups)]


def _read(pid: int, what: str) -> str:
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes().decode(errors="replace").replace("\0", " ")
    except OSError:  # it has ended
        return ""
