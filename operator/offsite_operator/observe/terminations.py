"""Explains how containers ended that could not report it themselves."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Pod = Mapping[str, Any]
Container = Mapping[str, Any]
"""A container's status."""

_MORE_SCRATCH = "; if the job needs that much, raise scratch.sizeLimit in the chart's values"
_NO_PROGRAM = re.compile(r"executable file not found|no such file or directory|permission denied")
_STARTS = ("StartError", "ContainerCannotRun")


def ended_because(pods: Sequence[Pod], memory: str) -> str:
    """Describe how the containers of a failed child ended; the root cause first.

    Args:
        pods: Oldest first. The newest pod of a RayJob is the submitter, which fails with any other.
        memory: The memory that the job requests.
    """
    evicted = (pod["status"] for pod in reversed(pods) if pod.get("status", {}).get("reason"))
    if status := next(evicted, None):
        detail = status.get("message", "")
        remedy = _MORE_SCRATCH if 'EmptyDir volume "tmp"' in detail else ""
        return f"{status['reason']}: {detail}{remedy}"
    endings = [each for pod in reversed(pods) for each in _endings(pod)]
    explaining = (each for each in endings if each[1].get("reason") in ("OOMKilled", *_STARTS))
    newest = (each for each in endings if each[1].get("exitCode"))
    found = next(explaining, None) or next(newest, None)
    return describe_exit(*found, memory) if found else ""


def never_starts(pods: Sequence[Pod]) -> bool:
    """Return whether an image lacks the program to run, so that a retry cannot help."""
    endings = (ended for pod in pods for _, ended in _endings(pod))
    failed = (each.get("message", "") for each in endings if each.get("reason") in _STARTS)
    return any(_NO_PROGRAM.search(detail) for detail in failed)


def describe_exit(name: str, ended: Mapping[str, Any], memory: str = "") -> str:
    """Describe how a container ended.

    Args:
        ended: Its state `terminated`.
        memory: Its memory limit, if known.
    """
    reason, message = ended.get("reason", ""), ended.get("message", "").strip()
    if reason == "OOMKilled":
        given = f" ({memory})" if memory else ""
        return (
            f"{name} ran out of memory{given}; increase spec.resources.memoryPerWorker, or "
            "reduce the batch size"
        )
    why = f" ({reason})" if reason in _STARTS else ""
    detail = f": {message}" if message else ""
    return f"{name} ended with exit code {ended.get('exitCode')}{why}{detail}"


def before(container: Container) -> Mapping[str, Any] | None:
    """Return how a restarted container ended before; None: it was not restarted."""
    found: Mapping[str, Any] | None = container.get("lastState", {}).get("terminated")
    return found


def _endings(pod: Pod) -> Iterator[tuple[str, Mapping[str, Any]]]:
    status = pod.get("status", {})
    # a failed init container, which obtains a session, explains the pod's failure
    every = (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ()))
    for container in every:
        for ended in (container.get("state", {}).get("terminated"), before(container)):
            if ended:
                yield container["name"], ended
