"""`kill -9` of a process in a pod, from outside of it: what is inside cannot kill its own first."""

import os
import signal
from pathlib import Path

from cluster.namespaces import Namespace


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
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    return found


def _processes(containers: set[str]) -> list[int]:
    every = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
    return [pid for pid in every if any(each in _read(pid, "cgroup") for each in containers)]


def _read(pid: int, what: str) -> str:
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes().decode(errors="replace").replace("\0", " ")
    except OSError:  # it has ended
        return ""
