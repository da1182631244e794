"""The Kubernetes Events of a job, computed from one status to the next."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from offsite.resources import Condition, JobStatus

_NORMAL = frozenset({"Cancelled"})
"""Failure reasons that the user requested."""
_SILENT = frozenset({"NotChecked", "NotStarted", "NotSuspended", "NotFinished", "Finished"})


@dataclass(frozen=True)
class EventRecord:
    """One Event."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    at: datetime
    """The transition time of its condition."""

    def name(self, job: str, uid: str) -> str:
        """Name it by its content and time, so that reporting it twice makes one Event."""
        said = "\n".join((uid, self.type, self.reason, self.message, self.at.isoformat()))
        return f"{job[:200]}.{hashlib.sha256(said.encode()).hexdigest()[:16]}"


def story(before: JobStatus, after: JobStatus) -> list[EventRecord]:
    """List the Events that are new."""
    known = {(c.type, c.status, c.reason, c.message) for c in before.conditions}
    fresh = (c for c in after.conditions if (c.type, c.status, c.reason, c.message) not in known)
    return [chapter for condition in fresh for chapter in _told(condition)]


def _told(condition: Condition) -> Iterator[EventRecord]:
    reason, message, at = condition.reason, condition.message, condition.last_transition_time
    if reason in _SILENT or (condition.type, reason) == ("Running", "Suspended"):
        return
    if condition.status == "True":
        bad = condition.type == "Failed" and reason not in _NORMAL
        yield EventRecord("Warning" if bad else "Normal", reason, message or _words(condition), at)
    elif message:
        starting = message.endswith(" is starting")
        yield EventRecord("Normal" if starting else "Warning", reason, message, at)


def _words(condition: Condition) -> str:
    return {
        "Accepted": "the job may run",
        "Suspended": "spec.suspend is set; nothing of it runs",
    }.get(condition.type, f"the job is {condition.type.lower()}")
