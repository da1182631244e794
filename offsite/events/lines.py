"""Events in the log of a pod.

An event is a line that begins with `offsite-event` and the pod's mark, a random number. The creator
of a pod draws its mark. The same log holds what libraries print of a peer's files and of a store's
answers; these do not know the mark.
"""

import secrets
from collections.abc import Mapping

from offsite.events.types import Event, parse_event
from offsite.text import as_json

MARK = "OFFSITE_EVENT_MARK"
"""The variable of a pod's environment that holds its mark."""
EVENT_MARK = "offsite-tuning.dev/event-mark"
"""The annotation of a pod that holds its mark, for readers of its log."""
_LINE = "offsite-event"


def new_mark() -> str:
    """Draw the mark of one pod's events."""
    return secrets.token_hex(16)


def mark_of(environ: Mapping[str, str]) -> str:
    """Get the mark of this pod; a process that was started by hand has none, and needs none."""
    return environ.get(MARK, "")


def as_line(event: Event, mark: str) -> str:
    """Write an event as a line of a pod's log."""
    return f"{_LINE} {mark} {as_json(event.wire())}"


def marked_text(line: str, mark: str) -> str | None:
    """Get what follows the mark in a line of a pod's log; None: the line has no mark.

    Args:
        mark: of the pod. Without a mark, no line is an event.
    """
    prefix = f"{_LINE} {mark} "
    return line.removeprefix(prefix) if mark and line.startswith(prefix) else None


def parse_line(line: str, mark: str) -> Event | None:
    """Read an event from a line of a pod's log, as `marked_text`; None: it is a log line."""
    text = marked_text(line, mark)
    return None if text is None else parse_event(text)
