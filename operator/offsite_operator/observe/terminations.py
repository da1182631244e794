"""How containers ended that could not report it themselves."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Pod = Mapping[str, Any]
Container = Mapping[str, Any]
"""The status of one."""

_MORE_SCRATCH = "; if it needs that much, have scratch.sizeLimit raised in the chart's values"
_NO_PROGRAM = re.compile(r"executable file not found|no such file or directory|permission denied")
_STARTS = ("StartError", "ContainerCannotRun")


def ended_because(pods: Sequence[Pod], memory: str) -> str:
    """Say how the containers of a failed child ended: first what explains the others.

    Args:
        pods: the oldest first. The newest of a RayJob is the submitter, which fails with any other.
        memory: what they were given, as the job asks for it.
    """
    evicted = (pod["status"] for pod in reversed(pods) if pod.get("status", {}).get("reason"))
    if status := next(evicted, None):
        said = status.get("message", "")
        remedy = _MORE_SCRATCH if 'EmptyDir volume "tmp"' in said else ""
        return f"{status['reason']}: {said}{remedy}"
    endings = [each for pod in reversed(pods) for each in _endings(pod)]
    telling = (each for each in endings if each[1].get("reason") in ("OOMKilled", *_STARTS))
    newest = (each for each in endings if each[1].get("exitCode"))
    found = next(telling, None) or next(newest, None)
    return how(*found, memory) if found else ""


def never_starts(pods: Sequence[Pod]) -> bool:
    """Whether an image lacks the program that it is to run: another attempt would end the same."""
    endings = (ended for pod in pods for _, ended in _endings(pod))
    failed = (each.get("message", "") for each in endings if each.get("reason") in _STARTS)
    return any(_NO_PROGRAM.search(said) for said in failed)


def how(name: str, ended: Mapping[str, Any], memory: str = "") -> str:
    """Say how a container ended.

    Args:
        ended: its state, `terminated`.
        memory: what it was given, if that is known.
    """
    reason, message = ended.get("reason", ""), ended.get("message", "").strip()
    if reason == "OOMKilled":
        given = f" ({memory})" if memory else ""
        return (
            f"{name} ran out of memory{given}; ask for more in spec.resources.memoryPerWorker, or "
            "make the batches smaller"
        )
    why = f" ({reason})" if reason in _STARTS else ""
    said = f": {message}" if message else ""
    return f"{name} ended with exit code {ended.get('exitCode')}{why}{said}"


def before(container: Container) -> Mapping[str, Any] | None:
    """Get how a container ended that was started again since; None: it is the first."""
    found: Mapping[str, Any] | None = container.get("lastState", {}).get("terminated")
    return found


def _endings(pod: Pod) -> Iterator[tuple[str, Mapping[str, Any]]]:
    status = pod.get("status", {})
    # one that is to lend a store, and cannot, ends before the others begin
    every = (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ()))
    for container in every:
        for ended in (container.get("state", {}).get("terminated"), before(container)):
            if ended:
                yield container["name"], ended
