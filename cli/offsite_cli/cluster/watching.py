"""`offsite watch`: a job's story as it happens, until it ends."""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from offsite.errors import InputError
from offsite_cli.cluster.access import Target, connect
from offsite_cli.cluster.errors import AWAY, WaitedTooLong
from offsite_cli.cluster.facts import Resource, exit_code, settled, state_of, why
from offsite_cli.cluster.jobs import get_job, path_of
from offsite_cli.cluster.names import JobName
from offsite_cli.cluster.outages import enduring
from offsite_cli.cluster.spans import span
from offsite_cli.cluster.telling import told
from offsite_cli.groups import grouped
from offsite_cli.options import Format
from offsite_cli.output import Output, complain, showing

if TYPE_CHECKING:
    from offsite_cli.cluster.api import Api

_LONGEST_WATCH = 300
_PAUSE = 1.0


@dataclass(frozen=True)
class Timeout:
    """How long somebody waits."""

    timeout: Annotated[
        float | None, span("How long to watch before it is given up, such as 30s, 10m or 2h.")
    ] = None


@grouped
def watch(name: JobName, target: Target, timeout: Timeout, output: Format = Output.TEXT) -> None:
    """Watch a job until it ends; the exit code says how.

    0: complete. 1: failed, a retry may help, or cancelled. 2: failed on bad input. 3: not ended
    within --timeout. 4: no connection, or not allowed. `-o json`: the job at each change, a line
    each.
    """
    raise typer.Exit(watch_all(connect(target), [name], output, timeout))


def watch_all(api: "Api", names: list[str], output: Output, timeout: Timeout) -> int:
    """Watch jobs, one after the other; give the exit code of the first that did not complete."""
    end = None if timeout.timeout is None else time.monotonic() + timeout.timeout
    codes = [_watch(api, name, output, end) for name in names]
    return next((code for code in codes if code), 0)


def _watch(api: "Api", name: str, output: Output, end: float | None) -> int:
    job: Resource | None = None
    with showing(output) as emit:
        for seen in states(api, name, end):
            for event in told(job, seen) if output is Output.TEXT else [seen]:
                emit(event)
            job = seen
            if settled(seen):
                break
    assert job is not None
    if code := exit_code(job):
        complain(f"{name}: {state_of(job)}, {why(job).reason}: {why(job).message}")
    return code


def states(api: "Api", name: str, end: float | None) -> Iterator[Resource]:
    """Give a job as it is, and again at each change.

    Args:
        end: when to give up, by the monotonic clock.

    Raises:
        WaitedTooLong: the end has come.
        InputError: there is no such job, or it was deleted.
        ClusterUnreachable, ClusterBusy: nobody answered for a minute.
    """
    while True:
        job = enduring(get_job, api, name)
        yield job
        with suppress(*AWAY):
            yield from _changes(api, job, _left(name, end))
        _left(name, end)
        time.sleep(_PAUSE)


def _changes(api: "Api", job: Resource, left: float) -> Iterator[Resource]:
    """Give a job at each change, until the server ends the watch."""
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
            return  # such as a version that the server no longer has: it is read anew
        yield event["object"]


def _left(name: str, end: float | None) -> float:
    left = _LONGEST_WATCH if end is None else min(_LONGEST_WATCH, end - time.monotonic())
    if left <= 0:
        raise WaitedTooLong(f"{name} has not ended in time; `offsite get {name}` says why")
    return left
