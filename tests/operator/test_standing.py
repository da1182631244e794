"""Which warnings are read of a child, and which of them still stand."""

from typing import Any

import pytest

from offsite_operator.cluster.lister import starting
from offsite_operator.observe.startup_problems import unresolved

HEAD, WORKER = "x-1-w-head", "x-1-w-worker"


def at(seconds: int) -> str:
    return f"2026-01-01T12:00:{seconds:02}Z"


def pod(name: str, created: int, *, mounted: bool = False, phase: str = "Pending") -> Any:
    ready = {"type": "PodReadyToStartContainers", "status": str(mounted)}
    metadata = {"name": name, "creationTimestamp": at(created)}
    return {"metadata": metadata, "status": {"phase": phase, "conditions": [ready]}}


def event(reason: str, told: int, about: str = "x-1-w") -> Any:
    metadata = {"creationTimestamp": at(told)}
    return {"reason": reason, "metadata": metadata, "involvedObject": {"name": about}}


@pytest.mark.parametrize(
    ("told", "pods", "stands"),
    [
        (event("FailedCreate", 11), [], True),
        (event("FailedCreate", 9), [], False),
        (event("FailedCreate", 11), [pod(HEAD, 20)], False),
        (event("FailedToCreateWorkerPod", 21), [pod(HEAD, 20)], True),
        (event("FailedMount", 21, HEAD), [pod(HEAD, 20)], True),
        (event("FailedMount", 21, HEAD), [pod(HEAD, 20, mounted=True)], False),
        (event("FailedMount", 21, WORKER), [pod(HEAD, 20, mounted=True), pod(WORKER, 20)], True),
        (event("Failed", 11, HEAD), [pod(HEAD, 20, mounted=True)], True),
    ],
)
def test_resolved_events_are_not_reported(told: Any, pods: list[Any], stands: bool) -> None:
    assert unresolved([told], at(10), pods) == ([told] if stands else [])


def test_the_newest_stands_last() -> None:
    old, new = event("FailedCreate", 11), event("Failed", 12)
    assert unresolved([new, old], at(10), []) == [old, new]


@pytest.mark.parametrize(
    ("kind", "status", "pods", "read"),
    [
        ("RayJob", {}, [], True),
        ("RayJob", {"jobDeploymentStatus": "Initializing"}, [pod(HEAD, 1, phase="Running")], True),
        ("RayJob", {"jobDeploymentStatus": "Running"}, [pod(HEAD, 1, phase="Running")], False),
        ("RayJob", {"jobDeploymentStatus": "Failed"}, [], False),
        ("Job", {}, [pod("x-1-w-a", 1)], True),
        ("Job", {}, [pod("x-1-w-a", 1, phase="Running")], False),
        ("Job", {"failed": 1}, [], False),
    ],
)
def test_warnings_are_read_while_a_pod_is_still_to_come(
    kind: Any, status: dict[str, Any], pods: list[Any], read: bool
) -> None:
    child = {"metadata": {"name": "x-1-w"}, "status": status}
    names = ["x-1-w", *(each["metadata"]["name"] for each in pods)]
    assert list(starting([(kind, child)], pods)) == (names if read else [])
