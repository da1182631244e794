"""Maps the status of a RayJob or a Job to a phase.

KubeRay's states are those of 1.7. The tests explain the pitfall of each row.
"""

from collections.abc import Mapping, Sequence, Set
from datetime import datetime
from typing import Any

from offsite_operator.observe.model import ChildState, Phase

_WAITING = {"": "KubeRay has not processed it yet; check that its operator is running"}
_RAY: Mapping[str, Phase] = {
    "": Phase.PENDING,
    "New": Phase.PENDING,
    "Initializing": Phase.PENDING,
    "Waiting": Phase.PENDING,
    "Suspending": Phase.QUEUED,
    "Suspended": Phase.QUEUED,
    "Running": Phase.RUNNING,
    "Retrying": Phase.RUNNING,
    "Complete": Phase.SUCCEEDED,
    "Failed": Phase.FAILED,
    "ValidationFailed": Phase.FAILED,
}
_RAY_ENDED = {
    "SUCCEEDED": Phase.SUCCEEDED,
    "STOPPED": Phase.STOPPED,
    "FAILED": Phase.FAILED,
}
_GRACE_SECONDS = 300.0
"""Seconds for the submitter to exit after its Ray job has ended."""


def instant(text: str | None) -> datetime | None:
    """Parse a timestamp of the API server."""
    return datetime.fromisoformat(text) if text else None


def rayjob_state(rayjob: Mapping[str, Any], now: datetime) -> ChildState:
    """Map a RayJob. It does not determine success: the last event of its driver does."""
    status = rayjob.get("status") or {}
    generation = rayjob["metadata"].get("generation", 0)
    # KubeRay before 1.7 does not set observedGeneration
    if status.get("observedGeneration", generation) < generation:
        status = {}
    deployment, ray = status.get("jobDeploymentStatus", ""), status.get("jobStatus", "")
    phase = _RAY.get(deployment, Phase.PENDING)
    ended = instant(status.get("endTime"))
    if deployment == "Running" and ray in _RAY_ENDED:
        stopped = instant((status.get("rayJobInfo") or {}).get("endTime"))
        late = stopped is not None and (now - stopped).total_seconds() > _GRACE_SECONDS
        phase = _RAY_ENDED[ray] if late else Phase.FINISHING
    elif phase is Phase.SUCCEEDED:
        phase = _RAY_ENDED.get(ray, Phase.FAILED)
    # Failed takes precedence: jobStatus may stay RUNNING
    reason = str(status.get("reason") or deployment)
    message = str(status.get("message") or _WAITING.get(deployment, ""))[-1024:]
    return ChildState(phase, reason, message, deployment == "ValidationFailed", ended)


def is_starting(rayjob: Mapping[str, Any]) -> bool:
    """Return whether a RayJob's cluster still waits for pods, even if some run."""
    deployment = (rayjob.get("status") or {}).get("jobDeploymentStatus", "")
    return _RAY.get(deployment, Phase.PENDING) is Phase.PENDING


def job_state(job: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> ChildState:
    """Map a batch/v1 Job."""
    conditions = {c["type"]: c for c in (job.get("status") or {}).get("conditions", ())}
    true = {kind: c for kind, c in conditions.items() if c.get("status") == "True"}
    for kind, phase in (
        ("Failed", Phase.FAILED),
        ("Complete", Phase.SUCCEEDED),
        ("FailureTarget", Phase.FINISHING),
        ("SuccessCriteriaMet", Phase.FINISHING),
        ("Suspended", Phase.QUEUED),
    ):
        if kind in true:
            found = true[kind]
            at = instant(found.get("lastTransitionTime"))
            return ChildState(phase, found.get("reason", kind), found.get("message", ""), ended=at)
    if job.get("spec", {}).get("suspend"):
        return ChildState(Phase.QUEUED)
    return ChildState(_by_pods({pod.get("status", {}).get("phase", "") for pod in pods}))


def _by_pods(phases: Set[str]) -> Phase:
    """Derive the phase from the pods while a Job has no condition: its counts lag behind."""
    if "Running" in phases:
        return Phase.RUNNING
    return Phase.FINISHING if phases and phases <= {"Succeeded", "Failed"} else Phase.PENDING
