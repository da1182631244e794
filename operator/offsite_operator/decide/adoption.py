"""Records the newest child in a job's status.

A child is created before the status names it. If the operator stops in between, the next reconcile
adopts the child here.
"""

from dataclasses import replace
from datetime import datetime
from typing import Any

from offsite.api import JobSpec
from offsite.resources import JobStatus, Step
from offsite_operator.decide.attempts import STEPS, current, has_reported
from offsite_operator.decide.status import ConditionUpdate, Kind, changed
from offsite_operator.manifests.plan import ChildPlan
from offsite_operator.observe.model import Child, Engine, Observed, Phase


def adopt_newest(seen: Observed, spec: JobSpec) -> Observed:
    """Record the newest child in the status, unless it is already recorded."""
    child, status = current(seen), seen.job.status
    if child is None or child.deleting or spec.suspend or _before_suspension(seen, child):
        return seen
    idle = status.start_time is None and not has_reported(status)
    again = child.name == status.job_name and idle
    queued, was_queued = child.state.phase is Phase.QUEUED, status.state == "Queued"
    if not ((again and not queued) or _is_ahead(child, status)):
        return seen
    # the clock is paused while the child is queued
    entered = changed(
        seen,
        "Pending",
        starting(seen, child.name),
        **entries(status, child, seen.now if was_queued else child.created),
    )
    return replace(seen, job=replace(seen.job, status=entered or status))


def starting(seen: Observed, name: str) -> dict[Kind, ConditionUpdate]:
    """Build the conditions of a job whose child was just created."""
    conditions: dict[Kind, ConditionUpdate] = {
        "Running": ConditionUpdate("False", "WaitingForPod", f"{name} is starting")
    }
    if not seen.job.has("Accepted"):
        conditions["Accepted"] = ConditionUpdate("True", "Accepted")
    return conditions


def entries(status: JobStatus, child: Child | ChildPlan, began: datetime) -> dict[str, Any]:
    """Build the status updates for a child that is about to be created, or already was."""
    engine: Engine = child.engine if isinstance(child, ChildPlan) else child.kind
    first = status.first_attempt if status.step == child.step else None
    return {
        "step": child.step,
        "attempts": child.attempt,
        "first_attempt": child.attempt if first is None else first,
        "job_name": child.name,
        "engine": engine if child.step == "Work" else status.engine,
        "start_time": status.start_time or began,
        "lost_time": None,
        **({"egress": None, "approval": None} if child.step == "Report" else {}),
    }


def _is_ahead(child: Child, status: JobStatus) -> bool:
    steps: tuple[Step | None, ...] = (None, *STEPS)
    known = (status.attempts or 0, steps.index(status.step))
    return (child.attempt, steps.index(child.step)) > known


def _before_suspension(seen: Observed, child: Child) -> bool:
    """Return whether a child predates the last suspension, and so does not count."""
    detail = (c for c in seen.job.status.conditions if c.type == "Suspended" and c.status == "True")
    return any(child.created < condition.last_transition_time for condition in detail)
