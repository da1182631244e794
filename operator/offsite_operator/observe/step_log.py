"""The events in the log of a step. The last one decides.

The same log has what libraries print of a peer's files: what is an event, the pod's mark says. But
whoever chose the image of a pod knows its mark: what an event holds is foreign text all the same.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from offsite import events
from offsite.events import Event
from offsite.text import printable

_FINAL = ("done", "failed")
_LONGEST = 64 << 10
"""Characters of a line that are looked at; an event has far fewer."""
MOST_METRICS = 100
"""Figures that are kept of one job; a stage has a handful."""
_MOST_CHARACTERS = {"message": 4096, "uri": 1024}
_USUAL_CHARACTERS = 256
_LARGEST = 2**63
"""No integer of Kubernetes' is."""


@dataclass(frozen=True)
class StepReport:
    """What one attempt has reported so far."""

    progress: Event | None = None
    progress_at: datetime | None = None
    metrics: dict[tuple[str, str], Event] = field(default_factory=dict)
    artifact: Event | None = None
    notice: Event | None = None
    """What the peer says of a stage of its own that failed."""
    last: Event | None = None
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
    """Read what has room in a status of an event; None: the line is a log line."""
    event = events.event_of(line[:_LONGEST], mark)
    return event and {printable(key): _bounded(key, value) for key, value in event.items()}


def _bounded(key: str, value: Any) -> Any:
    """Keep of a value what has room in a status, whatever prints it; None: nothing."""
    if isinstance(value, str):
        return printable(value)[: _MOST_CHARACTERS.get(key, _USUAL_CHARACTERS)]
    small = isinstance(value, float) or (isinstance(value, int) and abs(value) < _LARGEST)
    return value if small else None


def _with(told: StepReport, event: Event, at: datetime) -> StepReport:
    kind = event["event"]
    told = replace(told, last=event if kind in _FINAL else None)
    if kind == "progress":
        return replace(told, progress=event, progress_at=at)
    if kind == "artifact":
        return replace(told, artifact=event)
    if kind == "notice":
        return replace(told, notice=event)
    if kind == "metric":
        key = (str(event.get("name")), str(event.get("setting")))
        if key in told.metrics or len(told.metrics) < MOST_METRICS:
            return replace(told, metrics={**told.metrics, key: event})
    return told
