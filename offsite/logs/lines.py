"""The lines of a kept log: a time and an event in JSON each; other output is a `log` event."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from pydantic import AwareDatetime, TypeAdapter, ValidationError

from offsite.events import Event, Log, Progress, marked_text, parse_event
from offsite.logs.redaction import Redaction
from offsite.text import as_json, printable

_LONGEST = 64 << 10
"""Bytes of a line that are kept; events are shorter."""
_RECORD = '{"event": "record"'
_PROGRESS_SECONDS = 10.0
"""Minimum time between two kept lines of one phase's progress, which pods report twice a second."""
_TIME: TypeAdapter[datetime] = TypeAdapter(AwareDatetime)
_OBJECT: TypeAdapter[dict[str, object]] = TypeAdapter(dict[str, object])


class KeptLine(NamedTuple):
    """A line of a kept log."""

    at: datetime | None
    """When the pod wrote it; None: the line has no valid time."""
    event: Event


@dataclass
class LineFilter:
    """Turns the output of one pod into the lines to keep."""

    mark: str
    """The mark of the pod's events."""
    redaction: Redaction
    _phase: str | None = None
    _kept_at: float = field(default=float("-inf"))

    def line(self, content: bytes) -> bytes | None:
        """Return the line to keep, without a line end; None: nothing."""
        text = content[:_LONGEST].decode(errors="replace").rstrip("\r")
        marked = marked_text(text, self.mark)
        text = self.redaction.of(text if marked is None else marked)
        event = None if marked is None else parse_event(text)
        if isinstance(event, Progress) and not self._keeps(event):
            return None
        if marked is not None and marked.startswith(_RECORD):
            return None  # it is long, and a file of its own in the same store
        wire = Log(message=printable(text)).wire() if event is None else event.wire()
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        return as_json({"at": at, **wire}).encode()

    def _keeps(self, event: Progress) -> bool:
        """Return whether to keep a report: the first and last of a phase, and some between."""
        now = time.monotonic()
        ends = event.phase != self._phase or event.step == event.total_steps
        if not ends and now - self._kept_at < _PROGRESS_SECONDS:
            return False
        self._phase, self._kept_at = event.phase, now
        return True


def parse_kept(line: bytes) -> KeptLine:
    """Parse a line of a kept log. What is no event is shown as it is."""
    text = line[: 2 * _LONGEST].decode(errors="replace")
    event = parse_event(text)
    if event is None:
        return KeptLine(None, Log(message=text))
    try:
        at = _TIME.validate_python(_OBJECT.validate_json(text).get("at"), strict=False)
    except ValidationError:
        at = None
    return KeptLine(at, event)
