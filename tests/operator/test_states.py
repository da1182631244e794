"""What each state of a RayJob and of a Job means to us: PLATFORM's table, line by line."""

from datetime import UTC, datetime
from typing import Any

import pytest

from offsite_operator.observe.job_states import job_state, rayjob_state
from offsite_operator.observe.model import Phase

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
JUST, LONG_AGO = "2026-01-01T11:59:00Z", "2026-01-01T11:50:00Z"


def rayjob(deployment: str, ray: str = "", *, generation: int = 1, **status: Any) -> dict[str, Any]:
    told = {"jobDeploymentStatus": deployment, "jobStatus": ray, **status}
    return {"metadata": {"generation": generation}, "status": told}


@pytest.mark.parametrize(
    ("found", "phase"),
    [
        ({"metadata": {"generation": 1}}, Phase.PENDING),
        (rayjob(""), Phase.PENDING),
        (rayjob("Initializing"), Phase.PENDING),
        (rayjob("Waiting"), Phase.PENDING),
        (rayjob("Suspending"), Phase.QUEUED),
        (rayjob("Suspended"), Phase.QUEUED),
        (rayjob("Running"), Phase.RUNNING),
        (rayjob("Running", "PENDING"), Phase.RUNNING),
        (rayjob("Running", "RUNNING"), Phase.RUNNING),
        (rayjob("Running", "SUCCEEDED"), Phase.FINISHING),
        (rayjob("Running", "SUCCEEDED", rayJobInfo={"endTime": JUST}), Phase.FINISHING),
        (rayjob("Running", "SUCCEEDED", rayJobInfo={"endTime": LONG_AGO}), Phase.SUCCEEDED),
        (rayjob("Running", "FAILED", rayJobInfo={"endTime": LONG_AGO}), Phase.FAILED),
        (rayjob("Running", "STOPPED", rayJobInfo={"endTime": LONG_AGO}), Phase.STOPPED),
        (rayjob("Complete", "SUCCEEDED"), Phase.SUCCEEDED),
        (rayjob("Complete", "STOPPED"), Phase.STOPPED),
        (rayjob("Complete", "FAILED"), Phase.FAILED),
        (rayjob("Complete", ""), Phase.FAILED),
        (rayjob("Failed", "RUNNING"), Phase.FAILED),
        (rayjob("Failed", "SUCCEEDED"), Phase.FAILED),
        (rayjob("Retrying", "FAILED"), Phase.RUNNING),
        (rayjob("ValidationFailed"), Phase.FAILED),
        (rayjob("SomethingNewer"), Phase.PENDING),
    ],
)
def test_rayjob(found: dict[str, Any], phase: Phase) -> None:
    assert rayjob_state(found, NOW).phase is phase


def test_a_rayjob_that_was_not_looked_at_since_it_changed_is_pending() -> None:
    assert rayjob_state(rayjob("Failed", generation=2, observedGeneration=1), NOW).phase == (
        Phase.PENDING
    )
    # KubeRay 1.6 never says which generation it looked at
    assert rayjob_state(rayjob("Running", generation=2), NOW).phase is Phase.RUNNING


def test_a_failed_rayjob_has_a_reason() -> None:
    state = rayjob_state(rayjob("Failed", "RUNNING", reason="DeadlineExceeded", message="m"), NOW)
    assert (state.reason, state.message, state.permanent) == ("DeadlineExceeded", "m", False)
    assert rayjob_state(rayjob("ValidationFailed"), NOW).permanent
    assert "KubeRay" in rayjob_state(rayjob(""), NOW).message


def job(*conditions: str, suspend: bool = False, truth: str = "True") -> dict[str, Any]:
    told = [
        {"type": kind, "status": truth, "reason": f"Its{kind}", "lastTransitionTime": JUST}
        for kind in conditions
    ]
    return {"spec": {"suspend": suspend}, "status": {"conditions": told}}


@pytest.mark.parametrize(
    ("found", "pods", "phase"),
    [
        ({}, [], Phase.PENDING),
        (job(), ["Pending"], Phase.PENDING),
        (job(), ["Running"], Phase.RUNNING),
        (job(), ["Succeeded"], Phase.FINISHING),  # its pod has ended, and it has not seen that
        (job(), ["Failed"], Phase.FINISHING),
        (job(), ["Failed", "Pending"], Phase.PENDING),  # an auxiliary step is tried again
        (job(), ["Failed", "Running"], Phase.RUNNING),
        (job("Complete"), ["Failed", "Succeeded"], Phase.SUCCEEDED),
        (job(suspend=True), ["Failed"], Phase.QUEUED),
        (job(suspend=True), [], Phase.QUEUED),
        (job("Suspended"), [], Phase.QUEUED),
        (job("Suspended", truth="False"), ["Running"], Phase.RUNNING),
        (job("FailureTarget"), ["Running"], Phase.FINISHING),
        (job("SuccessCriteriaMet"), [], Phase.FINISHING),
        (job("SuccessCriteriaMet", "Complete"), [], Phase.SUCCEEDED),
        (job("FailureTarget", "Failed"), [], Phase.FAILED),
    ],
)
def test_job(found: dict[str, Any], pods: list[str], phase: Phase) -> None:
    assert job_state(found, [{"status": {"phase": each}} for each in pods]).phase is phase


def test_a_failed_job_has_a_reason_and_a_time() -> None:
    state = job_state(job("Failed"), [])
    assert state.reason == "ItsFailed"
    assert state.ended == datetime(2026, 1, 1, 11, 59, tzinfo=UTC)
