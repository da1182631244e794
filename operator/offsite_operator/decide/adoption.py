"""What a job's status says of its newest child, although the operator may have been cut off.

A child is created before the status says so: whoever ends in between leaves one that is there, and
nowhere entered.
"""

from dataclasses import replace
from datetime import datetime
from typing import Any

from offsite.api import JobSpec
from offsite.resources import JobStatus, Step
from offsite_operator.decide.attempts import STEPS, current
from offsite_operator.decide.status import ConditionUpdate, Kind, changed
from offsite_operator.manifests.plan import Plan
from offsite_operator.observe.model import Child, Engine, Observed, Phase


def caught_up(seen: Observed, spec: JobSpec) -> Observed:
    """Enter the newest child into the status, if it is not."""
    child, status = current(seen), seen.job.status
    if child is None or child.deleting or spec.suspend or _before_suspension(seen, child):
        return seen
    again = child.name == status.job_name and status.start_time is None
    queued, was_queued = child.state.phase is Phase.QUEUED, status.state == "Queued"
    if not ((again and not queued) or _is_ahead(child, status)):
        return seen
    # in a queue the clock stands
    entered = changed(
        seen,
        "Pending",
        starting(seen, child.name),
        **entries(status, child, seen.now if was_queued else child.created),
    )
    return replace(seen, job=replace(seen.job, status=entered or status))


def starting(seen: Observed, name: str) -> dict[Kind, ConditionUpdate]:
    """Say that a child was created, and the job accepted with it."""
    says: dict[Kind, ConditionUpdate] = {
        "Running": ConditionUpdate("False", "WaitingForPod", f"{name} is starting")
    }
    if not seen.job.has("Accepted"):
        says["Accepted"] = ConditionUpdate("True", "Accepted")
    return says


def entries(status: JobStatus, child: Child | Plan, began: datetime) -> dict[str, Any]:
    """Give the updates of a status by a child that is to be created, or was."""
    engine: Engine = child.engine if isinstance(child, Plan) else child.kind
    first = status.first_attempt if status.step == child.step else None
    return {
        "step": child.step,
        "attempts": child.attempt,
        "first_attempt": child.attempt if first is None else first,
        "job_name": child.name,
        "engine": engine if child.step == "Work" else status.engine,
        "start_time": status.start_time or began,
        "lost_time": None,
    }


def _is_ahead(child: Child, status: JobStatus) -> bool:
    steps: tuple[Step | None, ...] = (None, *STEPS)
    known = (status.attempts or 0, steps.index(status.step))
    return (child.attempt, steps.index(child.step)) > known


def _before_suspension(seen: Observed, child: Child) -> bool:
    """Whether a child is of the time before, which does not count."""
    said = (c for c in seen.job.status.conditions if c.type == "Suspended" and c.status == "True")
    return any(child.created < condition.last_transition_time for condition in said)
