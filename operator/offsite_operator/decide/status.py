"""Builds the status of a job. The only place where that happens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from offsite import events
from offsite.events import Event
from offsite.resources import Artifact, Condition, ConditionType, JobStatus, Metric, Progress
from offsite.resources import State as JobState
from offsite.text import printable
from offsite_operator.decide.attempts import is_done
from offsite_operator.decide.decision import Decision
from offsite_operator.observe.model import Child, Observed, round_of
from offsite_operator.observe.step_log import MOST_METRICS

Kind = ConditionType
Truth = Literal["True", "False", "Unknown"]
_LONGEST = 4096


@dataclass(frozen=True)
class ConditionUpdate:
    """What a condition is to say."""

    status: Truth
    reason: str
    message: str = ""
    """It may quote anybody."""

    @property
    def shown(self) -> str:
        """The message as a condition and an Event have it."""
        return printable(self.message)[:_LONGEST]


FIRST: Mapping[Kind, ConditionUpdate] = {
    "Accepted": ConditionUpdate("Unknown", "NotChecked", "the operator has not looked at it yet"),
    "Running": ConditionUpdate("False", "NotStarted"),
    "Suspended": ConditionUpdate("False", "NotSuspended"),
    "Complete": ConditionUpdate("False", "NotFinished"),
    "Failed": ConditionUpdate("False", "NotFinished"),
}
"""All of them, on the first visit."""


def updated(
    before: Sequence[Condition],
    says: Mapping[Kind, ConditionUpdate],
    generation: int,
    now: datetime,
) -> list[Condition]:
    """Say something new in some conditions; the others say what they said."""
    known = {condition.type: condition for condition in before}
    return [_one(kind, known.get(kind), says.get(kind), generation, now) for kind in FIRST]


def _one(
    kind: Kind,
    before: Condition | None,
    says: ConditionUpdate | None,
    generation: int,
    now: datetime,
) -> Condition:
    if says is None and before is not None:
        return before.model_copy(update={"observed_generation": generation})
    says = says or FIRST[kind]
    changed = before is None or before.status != says.status
    return Condition(
        type=kind,
        status=says.status,
        reason=says.reason,
        message=says.shown,
        last_transition_time=now if changed or before is None else before.last_transition_time,
        observed_generation=generation,
    )


T = TypeVar("T", bound=BaseModel)
_GATES = ("NotAllowed", "EgressDisabled")
"""Reasons for which a job is not even accepted, and never will be."""
_SOON = 60.0
"""Seconds in which deleted objects are usually gone."""
_LOOK_AGAIN = 15.0
"""Seconds until objects that are not gone by then are checked again."""


def wait(seen: Observed, reason: str, message: str, again: float | None = None) -> Decision:
    """Do not accept a job yet, and say what it waits for."""
    says: dict[Kind, ConditionUpdate] = {"Accepted": ConditionUpdate("False", reason, message)}
    if seen.job.has("Running"):
        says["Running"] = ConditionUpdate("False", "NotAccepted")
    return Decision(status=changed(seen, "Pending", says), again=again)


def hold(
    seen: Observed, reason: str, message: str, again: float | None = None, **updates: Any
) -> Decision:
    """Say why an accepted job does not run."""
    says: dict[Kind, ConditionUpdate] = {"Running": ConditionUpdate("False", reason, message)}
    return Decision(status=changed(seen, "Pending", says, **updates), again=again)


def held_up(seen: Observed, state: JobState) -> Decision | None:
    """Wait for objects that are being deleted, and report a long wait; None: there are none.

    Args:
        state: of the job meanwhile. What is suspended stays that: its attempt is not lost.
    """
    leaving = (child for child in seen.children if child.deleting)
    oldest = min(leaving, key=lambda child: child.deleted or seen.now, default=None)
    if oldest is None:
        return None
    if oldest.deleted is None:
        return Decision()  # when it is gone, we are told
    left = _SOON - (seen.now - oldest.deleted).total_seconds()
    if left > 0:
        return Decision(again=left)
    said = f"{oldest.name} is being deleted"
    says: dict[Kind, ConditionUpdate] = {"Running": ConditionUpdate("False", "WaitingForPod", said)}
    if seen.job.has("Suspended"):
        waits = f"it resumes when this is over: {said}"
        says["Suspended"] = ConditionUpdate("True", "Suspended", waits)
    return Decision(status=changed(seen, state, says), again=_LOOK_AGAIN)


def finish(seen: Observed, state: JobState, reason: str, message: str, **updates: Any) -> Decision:
    """End a job, one way or the other; whatever still runs of it is stopped."""
    says: dict[Kind, ConditionUpdate] = {
        "Running": ConditionUpdate("False", "Finished"),
        "Complete" if state == "Complete" else "Failed": ConditionUpdate("True", reason, message),
    }
    if reason in _GATES:
        says["Accepted"] = ConditionUpdate("False", reason, message)
    status = changed(seen, state, says, completion_time=seen.now, **updates)
    return Decision(status=status, delete=tuple(c for c in seen.children if c.active))


def changed(
    seen: Observed, state: JobState, says: Mapping[Kind, ConditionUpdate], **updates: Any
) -> JobStatus | None:
    """Make the status that a job is to have; None: it has it."""
    job = seen.job
    says = {"Suspended": ConditionUpdate("False", "NotSuspended"), **says}
    fresh = {
        "state": state,
        "conditions": updated(job.status.conditions, says, job.generation, seen.now),
        "observed_generation": job.generation,
        "retries": round_of(seen),
        **updates,
    }
    status = job.status.model_copy(update=fresh)
    return None if status == job.status else status


def with_told(decision: Decision, status: JobStatus, told: Mapping[str, Any]) -> Decision:
    """Add what an attempt has reported, since its log is gone with its pod."""
    after = (decision.status or status).model_copy(update=told)
    return replace(decision, status=None if after == status else after)


def heard_from(status: JobStatus, child: Child) -> dict[str, Any]:
    """Get the updates of a job's status from what a child has reported.

    Of one that is not done, or failed, only how far it has come.
    """
    told = child.told
    if told is None:
        return {}
    at = {"updatedAt": told.progress_at}
    progress = {"progress": _read(Progress, told.progress, at) or status.progress}
    if not is_done(child):
        return progress
    merged = {(m.name, m.setting): m for m in status.metrics}
    merged |= {(m.name, m.setting): m for m in map(_metric, told.metrics.values()) if m}
    return {
        **progress,
        "metrics": list(merged.values())[:MOST_METRICS],
        "artifact": _read(Artifact, told.artifact, {}) or status.artifact,
    }


def _metric(event: events.Metric) -> Metric | None:
    return _read(Metric, event, {"value": None if event.value is None else repr(event.value)})


def _read(kind: type[T], event: Event | None, more: Mapping[str, Any]) -> T | None:
    """Read an event; None: a value in it is not one that a status may have."""
    try:
        return kind.model_validate({**event.wire(), **more}) if event is not None else None
    except ValidationError:
        return None
