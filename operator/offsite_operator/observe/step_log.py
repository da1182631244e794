"""Reads the events in the log of a step. The last event decides.

The log also has what libraries print about a peer's files; the pod's mark identifies real events.
The author of a pod's image knows its mark, so the content of an event is untrusted, too.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any

from offsite.events import (
    Artifact,
    Done,
    Egress,
    Estimate,
    Event,
    Failed,
    Metric,
    NoticeRead,
    PrivacyReport,
    Progress,
    parse_line,
)
from offsite.text import printable

_LONGEST = 64 << 10
"""Characters of a line that are parsed; events are far shorter."""
MOST_METRICS = 100
"""Limit on the metrics kept for one job; a stage reports a handful."""
_MOST_CHARACTERS = {"message": 4096, "uri": 1024}
_USUAL_CHARACTERS = 256
_FIELDS: Mapping[type[Event], str] = {
    Artifact: "artifact",
    Egress: "egress",
    Estimate: "estimate",
    NoticeRead: "notice",
    PrivacyReport: "privacy",
}
"""The fields of a report that hold the last event of a kind."""
_LARGEST = 2**63
"""Exceeds every integer of Kubernetes."""


@dataclass(frozen=True)
class StepReport:
    """What one attempt has reported so far."""

    progress: Progress | None = None
    progress_at: datetime | None = None
    metrics: dict[tuple[str, str], Metric] = field(default_factory=dict)
    artifact: Artifact | None = None
    egress: Egress | None = None
    notice: NoticeRead | None = None
    """The peer's notice about a failed stage."""
    last: Done | Failed | None = None
    """The event `done` or `failed`, if it is the last one."""
    ended: bool = False
    """Whether the log was read to its end."""
    unread: str = ""
    """Why the log of an ended attempt is not readable."""
    privacy: PrivacyReport | None = None
    estimate: Estimate | None = None
    """The memory that the next step will need."""


def with_events(report: StepReport, lines: Iterable[tuple[datetime, str]], mark: str) -> StepReport:
    """Add the events of further log lines to a report.

    Args:
        lines: The lines, each with its timestamp.
        mark: The mark of the pod; see `offsite.events`.
    """
    for at, line in lines:
        event = event_of(line, mark)
        if event is not None:
            report = _with(report, event, at)
    return report


def event_of(line: str, mark: str) -> Event | None:
    """Parse an event, and cut it to the limits of a status; None: not an event."""
    event = parse_line(line[:_LONGEST], mark)
    if event is None:
        return None
    values = {each.name: getattr(event, each.name) for each in fields(event)}
    if any(isinstance(value, int) and abs(value) >= _LARGEST for value in values.values()):
        return None
    return replace(event, **{name: _cut(name, value) for name, value in values.items()})


def _cut(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return printable(value)[: _MOST_CHARACTERS.get(name, _USUAL_CHARACTERS)]


def _with(report: StepReport, event: Event, at: datetime) -> StepReport:
    report = replace(report, last=event if isinstance(event, Done | Failed) else None)
    if name := _FIELDS.get(type(event)):
        found: dict[str, Any] = {name: event}
        return replace(report, **found)
    if isinstance(event, Progress):
        return replace(report, progress=event, progress_at=at)
    if isinstance(event, Metric):
        key = (event.name, event.setting)
        if key in report.metrics or len(report.metrics) < MOST_METRICS:
            return replace(report, metrics={**report.metrics, key: event})
    return report
