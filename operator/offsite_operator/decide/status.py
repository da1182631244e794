"""Builds the conditions and the state of a job. No other module does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from offsite.resources import Condition, ConditionType, JobState, JobStatus
from offsite.text import printable
from offsite_operator.decide.decision import Decision
from offsite_operator.observe.model import Observed, round_of

Kind = ConditionType
Truth = Literal["True", "False", "Unknown"]
_LONGEST = 4096


@dataclass(frozen=True)
class ConditionUpdate:
    """The new state of a condition."""

    status: Truth
    reason: str
    message: str = ""
    """May quote untrusted text."""

    @property
    def shown(self) -> str:
        """The message for a condition or Event: printable, and limited in length."""
        return printable(self.message)[:_LONGEST]


FIRST: Mapping[Kind, ConditionUpdate] = {
    "Accepted": ConditionUpdate(
        "Unknown", "NotChecked", "the operator has not checked the job yet"
    ),
    "MemorySufficient": ConditionUpdate("Unknown", "NotChecked"),
    "Running": ConditionUpdate("False", "NotStarted"),
    "Suspended": ConditionUpdate("False", "NotSuspended"),
    "Complete": ConditionUpdate("False", "NotFinished"),
    "Failed": ConditionUpdate("False", "NotFinished"),
}
"""All conditions in their initial state."""


def updated(
    before: Sequence[Condition],
    conditions: Mapping[Kind, ConditionUpdate],
    generation: int,
    now: datetime,
) -> list[Condition]:
    """Merge updates into the conditions; conditions without an update keep their state."""
    known = {condition.type: condition for condition in before}
    return [_one(kind, known.get(kind), conditions.get(kind), generation, now) for kind in FIRST]


def _one(
    kind: Kind,
    before: Condition | None,
    conditions: ConditionUpdate | None,
    generation: int,
    now: datetime,
) -> Condition:
    if conditions is None and before is not None:
        return before.model_copy(update={"observed_generation": generation})
    conditions = conditions or FIRST[kind]
    changed = before is None or before.status != conditions.status
    return Condition(
        type=kind,
        status=conditions.status,
        reason=conditions.reason,
        message=conditions.shown,
        last_transition_time=now if changed or before is None else before.last_transition_time,
        observed_generation=generation,
    )


_GATES = ("NotAllowed", "EgressDisabled")
"""Reasons for which a job is not accepted, now or later."""
_SOON = 60.0
"""Seconds in which deletions usually complete."""
_LOOK_AGAIN = 15.0
"""Interval of the checks of a slower deletion."""


def wait(seen: Observed, reason: str, message: str, again: float | None = None) -> Decision:
    """Do not accept a job yet, and report what it waits for."""
    conditions: dict[Kind, ConditionUpdate] = {
        "Accepted": ConditionUpdate("False", reason, message)
    }
    if seen.job.has("Running"):
        conditions["Running"] = ConditionUpdate("False", "NotAccepted")
    return Decision(status=changed(seen, "Pending", conditions), again=again)


def hold(
    seen: Observed, reason: str, message: str, again: float | None = None, **updates: Any
) -> Decision:
    """Report why an accepted job does not run."""
    conditions: dict[Kind, ConditionUpdate] = {"Running": ConditionUpdate("False", reason, message)}
    return Decision(status=changed(seen, "Pending", conditions, **updates), again=again)


def held_up(seen: Observed, state: JobState) -> Decision | None:
    """Wait for children that are being deleted, and report a long wait; None: there are none.

    Args:
        state: State of the job meanwhile; a suspended job stays suspended.
    """
    leaving = (child for child in seen.children if child.deleting)
    oldest = min(leaving, key=lambda child: child.deleted or seen.now, default=None)
    if oldest is None:
        return None
    if oldest.deleted is None:
        return Decision()  # its deletion triggers a reconcile
    left = _SOON - (seen.now - oldest.deleted).total_seconds()
    if left > 0:
        return Decision(again=left)
    detail = f"{oldest.name} is being deleted"
    conditions: dict[Kind, ConditionUpdate] = {
        "Running": ConditionUpdate("False", "WaitingForPod", detail)
    }
    if seen.job.has("Suspended"):
        waits = f"the job resumes afterwards: {detail}"
        conditions["Suspended"] = ConditionUpdate("True", "Suspended", waits)
    return Decision(status=changed(seen, state, conditions), again=_LOOK_AGAIN)


def finish(seen: Observed, state: JobState, reason: str, message: str, **updates: Any) -> Decision:
    """Finish a job as complete, failed or cancelled, and stop its children."""
    conditions: dict[Kind, ConditionUpdate] = {
        "Running": ConditionUpdate("False", "Finished"),
        "Complete" if state == "Complete" else "Failed": ConditionUpdate("True", reason, message),
    }
    if reason in _GATES:
        conditions["Accepted"] = ConditionUpdate("False", reason, message)
    status = changed(seen, state, conditions, completion_time=seen.now, **updates)
    return Decision(status=status, delete=tuple(c for c in seen.children if c.active))


def changed(
    seen: Observed, state: JobState, conditions: Mapping[Kind, ConditionUpdate], **updates: Any
) -> JobStatus | None:
    """Build the job's new status; None: nothing changes."""
    job = seen.job
    conditions = {"Suspended": ConditionUpdate("False", "NotSuspended"), **conditions}
    fresh = {
        "state": state,
        "conditions": updated(job.status.conditions, conditions, job.generation, seen.now),
        "observed_generation": job.generation,
        "retries": round_of(seen),
        **updates,
    }
    status = job.status.model_copy(update=fresh)
    return None if status == job.status else status
