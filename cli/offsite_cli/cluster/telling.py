"""What is new in a job, as the events that its stage would have told; see `offsite.events`."""

from collections.abc import Iterator
from typing import Any

from offsite.events import Event
from offsite_cli.cluster.facts import Resource, name_of, state_of, status_of, why


def told(before: Resource | None, after: Resource) -> Iterator[Event]:
    """Tell what changed from one reading of a job to the next; at first, all of it."""
    old, new = status_of(before or {}), status_of(after)
    if before is None or (state_of(before), why(before)) != (state_of(after), why(after)):
        yield {"event": "log", "message": _standing(after)}
    if (progress := new.get("progress")) and progress != old.get("progress"):
        yield from _progress(progress)
    known = old.get("metrics") or []
    yield from (_metric(each) for each in new.get("metrics") or [] if each not in known)
    if (artifact := new.get("artifact")) and artifact != old.get("artifact"):
        yield {"event": "artifact", **artifact}


def _standing(job: Resource) -> str:
    found = why(job)
    return ": ".join(
        filter(None, [f"{name_of(job)}: {state_of(job)} ({found.reason})", found.message])
    )


def _progress(progress: dict[str, Any]) -> Iterator[Event]:
    if progress.get("totalSteps"):
        eta = float(progress.get("etaSeconds") or 0)
        phase = progress.get("phase") or "work"
        yield {"event": "progress", "step": 0, **progress, "phase": phase, "etaSeconds": eta}


def _metric(metric: dict[str, Any]) -> Event:
    """Give a figure as a number; None: no number holds it."""
    try:
        value = float(metric["value"])
    except (KeyError, TypeError, ValueError):
        value = float("nan")
    return {"event": "metric", **metric, "value": value if abs(value) < float("inf") else None}
