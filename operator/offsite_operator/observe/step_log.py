"""The events in the log of a step. The last one decides.

The same log has what libraries print of a peer's files; the pod's mark tells events from it. But
whoever chose the image of a pod knows its mark, so what an event holds is foreign text, too.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any

from offsite.events import (
    Artifact,
    Done,
    Event,
    Failed,
    Metric,
    NoticeRead,
    Progress,
    parse_line,
)
from offsite.text import printable

_LONGEST = 64 << 10
"""Characters of a line that are looked at; an event has far fewer."""
MOST_METRICS = 100
"""Figures that are kept of one job; a stage has a handful."""
_MOST_CHARACTERS = {"message": 4096, "uri": 1024}
_USUAL_CHARACTERS = 256
_LARGEST = 2**63
"""No integer of Kubernetes is as large."""


@dataclass(frozen=True)
class StepReport:
    """What one attempt has reported so far."""

    progress: Progress | None = None
    progress_at: datetime | None = None
    metrics: dict[tuple[str, str], Metric] = field(default_factory=dict)
    artifact: Artifact | None = None
    notice: NoticeRead | None = None
    """What the peer says of a stage of its own that failed."""
    last: Done | Failed | None = None
    """The event `done` or `failed`, if it is the last one."""
    ended: bool = False
    """Whether the log was read to its end."""
    unread: str = ""
    """Why the log of what has ended cannot be read."""


def heard(told: StepReport, lines: Iterable[tuple[datetime, str]], mark: str) -> StepReport:
    """Take in more lines of a log, each with the time at which it was written.

    Args:
        mark: of the pod; see `offsite.events`.
    """
    for at, line in lines:
        event = event_of(line, mark)
        if event is not None:
            told = _with(told, event, at)
    return told


def event_of(line: str, mark: str) -> Event | None:
    """Read an event, cut to what a status has room for; None: the line is a log line."""
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


def _with(told: StepReport, event: Event, at: datetime) -> StepReport:
    told = replace(told, last=event if isinstance(event, Done | Failed) else None)
    match event:
        case Progress():
            return replace(told, progress=event, progress_at=at)
        case Artifact():
            return replace(told, artifact=event)
        case NoticeRead():
            return replace(told, notice=event)
        case Metric():
            key = (event.name, event.setting)
            if key in told.metrics or len(told.metrics) < MOST_METRICS:
                return replace(told, metrics={**told.metrics, key: event})
    return told
