"""Builds the status of a job. No other module does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from offsite import events
from offsite.events import Event
from offsite.resources import (
    ArtifactStatus,
    Condition,
    ConditionType,
    EgressReport,
    JobState,
    JobStatus,
    MetricStatus,
    PrivacyStatus,
    ProgressStatus,
)
from offsite.text import printable
from offsite_operator.decide.attempts import is_done
from offsite_operator.decide.decision import Decision
from offsite_operator.observe.model import Child, Observed, round_of
from offsite_operator.observe.step_log import MOST_METRICS, StepReport

Kind = ConditionType
Truth = Literal["True", "False", "Unknown"]
_REFUSALS = frozenset({"ReleaseRefused", "SuspiciousEmulator"})
"""Reasons of a failed Work step whose figures are kept."""
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


T = TypeVar("T", bound=BaseModel)
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


def with_report(decision: Decision, status: JobStatus, report: Mapping[str, Any]) -> Decision:
    """Record what an attempt has reported, because its log disappears with its pod."""
    after = (decision.status or status).model_copy(update=report)
    return replace(decision, status=None if after == status else after)


def reported_updates(status: JobStatus, child: Child) -> dict[str, Any]:
    """Return the status updates that a child has reported.

    A child that has not succeeded contributes its progress only, and if inspection refused the
    peer's emulator, or the audits its adapter, their figures.
    """
    report = child.report
    if report is None:
        return {}
    at = {"updatedAt": report.progress_at}
    progress: dict[str, Any] = {
        "progress": _read(ProgressStatus, report.progress, at) or status.progress
    }
    if not is_done(child):
        return {**progress, "metrics": _metrics(status, report)} if _refused(report) else progress
    if child.step in ("Report", "Publish"):  # an image that the author chose could report anything
        progress["egress"] = _egress(report.egress) or status.egress
    return {
        **progress,
        "metrics": _metrics(status, report),
        "privacy": _privacy(child) or status.privacy,
        "artifact": _read(ArtifactStatus, report.artifact, {}) or status.artifact,
    }


def _egress(event: events.Egress | None) -> EgressReport | None:
    if event is None:
        return None
    try:
        return EgressReport.model_validate(event.report)
    except ValidationError:
        return None


def _refused(report: StepReport) -> bool:
    return isinstance(report.last, events.Failed) and report.last.reason in _REFUSALS


def _metrics(status: JobStatus, report: StepReport) -> list[MetricStatus]:
    """Add the metrics of a report to those of a status."""
    merged = {(m.name, m.setting): m for m in status.metrics}
    merged |= {(m.name, m.setting): m for m in map(_metric, report.metrics.values()) if m}
    return list(merged.values())[:MOST_METRICS]


def _metric(event: events.Metric) -> MetricStatus | None:
    decimals = {
        "value": _decimal(event.value),
        "interval": _decimals(event.interval),
        "gain": _decimal(event.gain),
        "gainInterval": _decimals(event.gain_interval),
    }
    return _read(MetricStatus, event, decimals)


def _decimal(value: float | None) -> str | None:
    return None if value is None else repr(value)


def _decimals(interval: tuple[float, float] | None) -> list[str] | None:
    return None if interval is None else [repr(bound) for bound in interval]


def _privacy(child: Child) -> PrivacyStatus | None:
    """Return what Publish has checked and sealed; Work may run an image of the job's author."""
    report = child.report if child.step == "Publish" else None
    return _read(PrivacyStatus, report.privacy, {}) if report is not None else None


def _read(kind: type[T], event: Event | None, more: Mapping[str, Any]) -> T | None:
    """Convert an event to a part of the status; None: a value is not allowed in a status."""
    try:
        return kind.model_validate({**event.wire(), **more}) if event is not None else None
    except ValidationError:
        return None
