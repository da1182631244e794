"""`offsite watch`: follow a job until it ends."""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from offsite.errors import InputError
from offsite.events import Emit, Event, Log, parse_event
from offsite.text import as_json
from offsite_cli.cluster.connection import Target, connect, retry_while_unavailable
from offsite_cli.cluster.errors import TEMPORARY, WatchTimeout
from offsite_cli.cluster.job_status import (
    Resource,
    exit_code_of,
    explanation_of,
    is_settled,
    name_of,
    state_of,
    status_of,
)
from offsite_cli.cluster.jobs import JobName, get_job, path_of
from offsite_cli.options import Format, duration_option, grouped
from offsite_cli.output import Output, event_printer, show_error, show_json_line

if TYPE_CHECKING:
    from offsite_cli.cluster.api import Api

_LONGEST_WATCH = 300
_PAUSE = 1.0


@dataclass(frozen=True)
class Timeout:
    """The option that bounds the time to wait."""

    timeout: Annotated[
        float | None, duration_option("How long to watch, such as 30s, 10m or 2h.")
    ] = None


@grouped
def watch(name: JobName, target: Target, timeout: Timeout, output: Format = Output.TEXT) -> None:
    """Watch a job until it ends. The exit code shows how it ended.

    Exit codes: 0 complete; 1 failed and a retry may help, or cancelled; 2 failed on invalid input;
    3 not ended within --timeout; 4 no connection, or not allowed. `-o json` prints the job at each
    change, as one line.
    """
    raise typer.Exit(watch_all(connect(target), [name], output, timeout))


def watch_all(api: "Api", names: list[str], output: Output, timeout: Timeout) -> int:
    """Watch jobs one after the other; return the exit code of the first that failed."""
    end = None if timeout.timeout is None else time.monotonic() + timeout.timeout
    codes = [_watch(api, name, output, end) for name in names]
    return next((code for code in codes if code), 0)


def job_events(before: Resource | None, after: Resource) -> Iterator[Event]:
    """Return what changed between two versions of a job, as events of a stage (`offsite.events`).

    Args:
        before: the former version; None returns everything.
    """
    old, new = status_of(before or {}), status_of(after)
    if before is None or _standing(before) != _standing(after):
        yield Log(message=_describe_state(after))
    progress = new.get("progress") or {}
    if progress.get("totalSteps") and progress != old.get("progress"):
        yield from _event("progress", {"phase": "work", "step": 0, **progress})
    known = old.get("metrics") or []
    for metric in new.get("metrics") or []:
        if metric not in known:
            yield from _event("metric", _metric(metric))
    if (privacy := new.get("privacy")) and privacy != old.get("privacy"):
        yield from _event("privacy", privacy)
    if (artifact := new.get("artifact")) and artifact != old.get("artifact"):
        yield from _event("artifact", artifact)


def _watch(api: "Api", name: str, output: Output, end: float | None) -> int:
    with event_printer(output) as emit:
        job = next(filter(is_settled, _shown(_versions(api, name, end), output, emit)))
    if code := exit_code_of(job):
        why = explanation_of(job)
        show_error(f"{name}: {state_of(job)}, {why.reason}: {why.message}")
    return code


def _shown(versions: Iterator[Resource], output: Output, emit: Emit) -> Iterator[Resource]:
    """Print each version of a job, or what changed in it, and pass it on."""
    before: Resource | None = None
    for version in versions:
        if output is Output.JSON:
            show_json_line(version)
        else:
            for event in job_events(before, version):
                emit(event)
        yield version
        before = version


def _versions(api: "Api", name: str, end: float | None) -> Iterator[Resource]:
    """Yield a job as it is now, and again at each change.

    Args:
        end: when to stop, by the monotonic clock.

    Raises:
        WatchTimeout: the end has come.
        InputError: there is no such job, or it was deleted.
        ClusterUnreachable, ClusterBusy: the API server was not available for a minute.
    """
    while True:
        job = retry_while_unavailable(get_job, api, name)
        yield job
        with suppress(*TEMPORARY):
            yield from _changes(api, job, _seconds_left(name, end))
        _seconds_left(name, end)
        time.sleep(_PAUSE)


def _changes(api: "Api", job: Resource, left: float) -> Iterator[Resource]:
    """Yield a job at each change, until the server closes the watch."""
    metadata = job["metadata"]
    query = {
        "watch": "true",
        "fieldSelector": f"metadata.name={metadata['name']}",
        "resourceVersion": metadata["resourceVersion"],
        "timeoutSeconds": str(max(1, int(left))),
    }
    for line in api.lines(path_of(api), seconds=left + 10, **query):
        event = json.loads(line)
        if event["type"] == "DELETED":
            raise InputError(f"{metadata['name']} was deleted")
        if event["type"] == "ERROR":
            return  # for example, the resourceVersion has expired: the job is read again
        yield event["object"]


def _seconds_left(name: str, end: float | None) -> float:
    left = _LONGEST_WATCH if end is None else min(_LONGEST_WATCH, end - time.monotonic())
    if left <= 0:
        raise WatchTimeout(
            f"{name} has not ended within the timeout; `offsite get {name}` shows its state"
        )
    return left


def _standing(job: Resource) -> tuple[str, str, str]:
    return (state_of(job), *explanation_of(job))


def _describe_state(job: Resource) -> str:
    why = explanation_of(job)
    return ": ".join(filter(None, [f"{name_of(job)}: {state_of(job)} ({why.reason})", why.message]))


def _event(kind: str, facts: Resource) -> Iterator[Event]:
    """Read a part of a status as an event; yield nothing if it lacks what the event needs."""
    if (event := parse_event(as_json({**facts, "event": kind}))) is not None:
        yield event


def _metric(metric: Resource) -> Resource:
    """Convert the decimals of a metric to numbers."""
    numbers = {key: _number(metric.get(key)) for key in ("value", "gain")}
    intervals = {key: _numbers(metric.get(key)) for key in ("interval", "gainInterval")}
    return {**metric, **numbers, **intervals}


def _numbers(interval: list[object] | None) -> list[float | None] | None:
    """Convert two decimals to numbers, or to None unless both are finite."""
    bounds = [_number(bound) for bound in interval or ()]
    return bounds if bounds and None not in bounds else None


def _number(value: object) -> float | None:
    """Convert a decimal to a number, or to None if it is not finite."""
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None
