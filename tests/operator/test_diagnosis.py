"""Why a pod does not start."""

from datetime import UTC, datetime
from typing import Any

import pytest

from offsite_operator.observe.startup_problems import startup_problem

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
GPU = "nvidia.com/gpu"
NO_KEY = 'SetUp failed for volume "identity" : references non-existent secret key: ring.json'

NO_CLASS = 'pods "a" is forbidden: no PriorityClass with name system-x was found'


def pod(waiting: str = "", *, at: str = "2026-01-01T11:59:50Z", **status: Any) -> dict[str, Any]:
    container = {"name": "step", "image": "r/i:1", "state": {"waiting": {"reason": waiting}}}
    told = {"containerStatuses": [container]} if waiting else {}
    return {"metadata": {"creationTimestamp": at}, "status": told | status}


def scheduled(at: str, said: str = "") -> dict[str, Any]:
    """A pod that cannot pull its image, long after it was created."""
    since = f"2026-01-01T{at}Z"
    condition = {"type": "PodScheduled", "status": "True", "lastTransitionTime": since}
    found = pod("ImagePullBackOff", at="2026-01-01T08:00:00Z", conditions=[condition])
    found["status"]["containerStatuses"][0]["state"]["waiting"]["message"] = said
    return found


def unschedulable(message: str) -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": "False", "message": message}
    return pod(conditions=[condition])


def crashing(state: dict[str, Any], restarts: int, **last: Any) -> dict[str, Any]:
    """A pod whose container ended as it says, and was started again."""
    told = {"name": "ray-head", "image": "r/i:1", "ready": False, "restartCount": restarts}
    return pod(containerStatuses=[told | {"state": state, "lastState": {"terminated": last}}])


def event(reason: str, message: str) -> dict[str, str]:
    return {"reason": reason, "message": message}


@pytest.mark.parametrize(
    ("pods", "events", "reason", "fatal", "said"),
    [
        ([pod("ErrImagePull")], [], "ImagePullFailed", False, "pull the image r/i:1"),
        ([scheduled("11:59:50")], [], "ImagePullFailed", False, "pull the image r/i:1"),
        ([scheduled("11:58:00")], [], "ImagePullFailed", True, "pull the image r/i:1"),
        ([pod("InvalidImageName")], [], "ImagePullFailed", True, "r/i:1"),
        ([pod("CreateContainerConfigError")], [], "InvalidPod", True, "cannot start"),
        ([unschedulable("0/1: 1 Insufficient nvidia.com/gpu")], [], "Unschedulable", False, GPU),
        ([pod()], [event("FailedMount", 'secret "keys" not found')], "FailedMount", False, "keys"),
        ([], [event("FailedMount", NO_KEY)], "FailedMount", False, "ring.json; add it to the"),
        ([], [event("FailedCreate", "exceeded quota: q")], "QuotaExceeded", False, "quota: q"),
        ([], [event("FailedToCreateHeadPod", "exceeded quota: q")], "QuotaExceeded", False, "q"),
        (
            [],
            [event("FailedCreate", "violates PodSecurity")],
            "InvalidPod",
            True,
            "rejected the pod",
        ),
        ([], [event("FailedCreate", NO_CLASS)], "InvalidPod", True, "spec.runtime.prio"),
        ([], [event("FailedToCreateHeadPod", NO_CLASS)], "InvalidPod", True, "system-x was found"),
        (
            [],
            [event("FailedCreate", "the server is busy")],
            "InvalidPod",
            False,
            "rejected the pod",
        ),
    ],
)
def test_trouble(pods: list[Any], events: list[Any], reason: str, fatal: bool, said: str) -> None:
    found = startup_problem(pods, events, GPU, NOW)
    assert found is not None
    assert (found.reason, found.fatal) == (reason, fatal)
    assert said in found.message


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("0/2: 2 Insufficient memory, 1 untolerated taint", "has room for its pod: 0/2"),
        ("0/2: 2 Insufficient nvidia.com/gpu", "reduce spec.resources"),
        (
            "0/1: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are "
            "available: 1 Preemption is not helpful for scheduling.",
            "0/1: 1 Insufficient cpu; reduce spec.resources",
        ),
        (
            "0/1: 1 Insufficient cpu. preemption: not eligible",
            "1 Insufficient cpu; reduce spec.resources",
        ),
        ('persistentvolumeclaim "data" not found', "accepts its pod: persis"),
        ('persistentvolumeclaim "data" not found', "create that claim"),
        ("2 node(s) didn't match Pod's node affinity/selector", "correct spec.runtime.nodeSel"),
        ("1 node(s) had untolerated taint {a: b}", "name the taint in spec.runtime.tolerations"),
        ("pod has unbound immediate PersistentVolumeClaims", "accepts its pod: pod has"),
    ],
)
def test_the_remedy_for_an_unschedulable_pod(said: str, told: str) -> None:
    found = startup_problem([unschedulable(said)], [], GPU, NOW)
    assert found is not None
    assert (found.reason, found.fatal) == ("Unschedulable", False)
    assert told in found.message


WAITS = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}}


@pytest.mark.parametrize(
    ("state", "restarts", "last", "fatal", "said"),
    [
        (WAITS, 1, {"exitCode": 127}, False, "of r/i:1 keeps exiting: ray-head ended with exit"),
        (WAITS, 3, {"exitCode": 127}, True, "exit code 127"),
        (WAITS, 3, {"exitCode": 137, "reason": "OOMKilled"}, True, "ran out of memory"),
        (WAITS, 3, {"exitCode": 1, "message": "no ray"}, True, "exit code 1: no ray"),
        ({"running": {}}, 9, {"exitCode": 1}, False, "exit code 1"),
        ({"terminated": {"exitCode": 1}}, 9, {"exitCode": 1}, False, "exit code 1"),
    ],
)
def test_a_container_that_keeps_ending_is_told_and_given_up(
    state: dict[str, Any], restarts: int, last: dict[str, Any], fatal: bool, said: str
) -> None:
    found = startup_problem([crashing(state, restarts, **last)], [], GPU, NOW)
    assert found is not None
    assert (found.reason, found.fatal) == ("PodCrashes", fatal)
    assert said in found.message


def test_a_container_that_is_well_again_is_no_trouble() -> None:
    found = crashing({"running": {}}, 1, exitCode=1)
    found["status"]["containerStatuses"][0]["ready"] = True
    assert startup_problem([found], [], GPU, NOW) is None


@pytest.mark.parametrize(
    ("said", "fatal"),
    [
        ("read tcp 10.0.0.1:443: i/o timeout", False),
        ("read: connection reset by peer", False),
        ("httpReadSeeker: failed open: unexpected EOF", False),
        ("unexpected status: 503 Service Unavailable", False),
        ("r/eof:1: not found", True),
        ("pull access denied, repository does not exist", True),
        ("dial tcp: lookup registry.invalid: no such host", True),
    ],
)
def test_a_network_that_fails_is_no_wrong_image(said: str, fatal: bool) -> None:
    found = startup_problem([scheduled("11:00:00", said)], [], GPU, NOW)
    assert found is not None
    assert (found.reason, found.fatal) == ("ImagePullFailed", fatal)


@pytest.mark.parametrize(
    ("said", "first", "fatal"),
    [
        ("no such file or directory", "11:59:30", False),
        ("no such file or directory", "11:58:59", True),
        ("no such file or directory", None, False),
        ("context deadline exceeded", "11:00:00", False),
        ('failed to reserve container name "step": it is reserved for "a"', "11:00:00", False),
    ],
)
def test_a_container_runtime_that_is_busy_is_waited_for(
    said: str, first: str | None, fatal: bool
) -> None:
    found = pod("CreateContainerError")
    found["status"]["containerStatuses"][0]["state"]["waiting"]["message"] = said
    pulled = event("Failed", "Error: ErrImagePull") | {"firstTimestamp": "2026-01-01T09:00:00Z"}
    failed = event("Failed", f"Error: {said}") | {"firstTimestamp": f"2026-01-01T{first}Z"}
    told = startup_problem([found], [pulled, failed] if first else [pulled], GPU, NOW)
    assert told is not None
    assert (told.reason, told.fatal) == ("InvalidPod", fatal)
    assert said in told.message


@pytest.mark.parametrize(("first", "fatal"), [("11:59:30", False), ("11:58:59", True)])
def test_the_first_pull_that_fails_is_not_the_last(first: str, fatal: bool) -> None:
    failed = event("Failed", "Failed to pull image") | {"firstTimestamp": f"2026-01-01T{first}Z"}
    found = startup_problem([scheduled("11:00:00")], [failed], GPU, NOW)
    assert found is not None
    assert found.fatal is fatal


@pytest.mark.parametrize("waiting", ["", "ContainerCreating", "PodInitializing"])
def test_no_trouble(waiting: str) -> None:
    assert startup_problem([pod(waiting)], [event("Unhealthy", "slow")], GPU, NOW) is None


def test_the_newest_event_is_told_and_the_fatal_one_first() -> None:
    old, new = event("FailedMount", "old"), event("FailedMount", "new")
    found = startup_problem([], [old, new], GPU, NOW)
    assert found is not None
    assert "new" in found.message
    found = startup_problem(
        [unschedulable("full")], [event("FailedCreate", "is invalid")], GPU, NOW
    )
    assert found is not None
    assert found.fatal


def exceeded(requested: str, used: str, limited: str) -> str:
    """Say it as the API server does."""
    return (
        f'pods "a" is forbidden: exceeded quota: offsite, requested: {requested}, used: {used}, '
        f"limited: {limited}"
    )


@pytest.mark.parametrize(
    ("requested", "used", "limited", "told"),
    [
        (
            "requests.nvidia.com/gpu=8",
            "requests.nvidia.com/gpu=0",
            "requests.nvidia.com/gpu=2",
            "never fit: requests.nvidia.com/gpu; create another job with less "
            "spec.resources.gpusPerWorker",
        ),
        (
            "limits.memory=6Gi,requests.cpu=500m",
            "limits.memory=0,requests.cpu=0",
            "limits.memory=4096Mi,requests.cpu=1",
            "less spec.resources.memoryPerWorker, or",
        ),
        (
            "cpu=4,memory=8Gi",
            "cpu=0,memory=0",
            "cpu=1,memory=1Gi",
            "spec.resources.cpusPerWorker and spec.resources.memoryPerWorker",
        ),
        (
            "ephemeral-storage=9Gi",
            "ephemeral-storage=0",
            "ephemeral-storage=1Gi",
            "ephemeral-storage; raise the ResourceQuota",
        ),
        ("pods=1", "pods=3", "pods=3", "starts when other pods end"),
        ("pods=many", "pods=3", "pods=3", "starts when other pods end"),
    ],
)
def test_the_remedy_for_a_quota(requested: str, used: str, limited: str, told: str) -> None:
    said = exceeded(requested, used, limited)
    found = startup_problem([], [event("FailedCreate", said)], GPU, NOW)
    assert found is not None
    assert (found.reason, found.fatal) == ("QuotaExceeded", False)
    assert told in found.message


def test_the_message_about_a_quota_does_not_change_between_retries() -> None:
    tries = (exceeded("pods=1", used, "pods=3") for used in ("pods=3", "pods=4"))
    found = [startup_problem([], [event("FailedCreate", said)], GPU, NOW) for said in tries]
    assert found[0] == found[1]
    assert found[0] is not None
    assert "exceeded quota: offsite, requested: pods=1, limited: pods=3; it" in found[0].message


@pytest.mark.parametrize(
    ("requested", "workers", "told"),
    [
        ("memory=2Gi", 2, "starts when other pods end"),
        (
            "memory=2Gi",
            3,
            "its 3 workers can never fit together: memory; create another job with "
            "fewer spec.resources.workers or less spec.resources.memoryPerWorker, or raise",
        ),
        ("memory=5Gi", 3, "it can never fit: memory; create another job with less spec."),
        ("pods=1", 9, "starts when other pods end"),
    ],
)
def test_workers_that_exceed_a_quota_together_are_reported(
    requested: str, workers: int, told: str
) -> None:
    said = exceeded(requested, "memory=3Gi", "memory=4Gi")
    found = startup_problem([], [event("FailedToCreateWorkerPod", said)], GPU, NOW, workers)
    assert found is not None
    assert told in found.message
