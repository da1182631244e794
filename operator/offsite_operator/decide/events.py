"""Computes a job's Kubernetes Events from the change of its status."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from offsite.resources import Condition, JobStatus
from offsite_operator.decide.approval import APPROVED, AWAITING

_NORMAL = frozenset({"Cancelled"})
"""Failure reasons that the user requested."""
_EXPECTED = frozenset({AWAITING, APPROVED})
"""Reasons why a job does not run that are no problem."""
_SILENT = frozenset(
    {"NotChecked", "NotStarted", "NotSuspended", "NotFinished", "Finished", "Sufficient"}
)


@dataclass(frozen=True)
class EventRecord:
    """A Kubernetes Event."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    at: datetime
    """Transition time of the condition."""

    def name(self, job: str, uid: str) -> str:
        """Derive the name from content and time, so that a repeated report creates one Event."""
        content = "\n".join((uid, self.type, self.reason, self.message, self.at.isoformat()))
        return f"{job[:200]}.{hashlib.sha256(content.encode()).hexdigest()[:16]}"


def new_events(before: JobStatus, after: JobStatus) -> list[EventRecord]:
    """List the Events for a change of status."""
    known = {(c.type, c.status, c.reason, c.message) for c in before.conditions}
    fresh = (c for c in after.conditions if (c.type, c.status, c.reason, c.message) not in known)
    return [record for condition in fresh for record in _records(condition)]


def _records(condition: Condition) -> Iterator[EventRecord]:
    reason, message, at = condition.reason, condition.message, condition.last_transition_time
    if reason in _SILENT or (condition.type, reason) == ("Running", "Suspended"):
        return
    if condition.status == "True":
        bad = condition.type == "Failed" and reason not in _NORMAL
        yield EventRecord("Warning" if bad else "Normal", reason, message or _words(condition), at)
    elif message:
        expected = message.endswith(" is starting") or reason in _EXPECTED
        yield EventRecord("Normal" if expected else "Warning", reason, message, at)


def _words(condition: Condition) -> str:
    return {
        "Accepted": "the job may run",
        "Suspended": "spec.suspend is set; no pod of the job runs",
    }.get(condition.type, f"the job is {condition.type.lower()}")
