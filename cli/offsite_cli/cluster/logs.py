"""`offsite logs`: what a job's pods say, over all its attempts."""

import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from offsite import events
from offsite.events import Event
from offsite_cli.cluster.access import Target, connect
from offsite_cli.cluster.errors import ClusterError
from offsite_cli.cluster.facts import Resource, settled, state_of, why
from offsite_cli.cluster.jobs import get_job
from offsite_cli.cluster.names import JobName
from offsite_cli.cluster.outages import enduring
from offsite_cli.cluster.pods import (
    attempt_of,
    drivers,
    ended,
    log_of,
    mark_of,
    started,
    step_of,
)
from offsite_cli.groups import grouped
from offsite_cli.options import Format
from offsite_cli.output import Output, described, say, show_text, tell

if TYPE_CHECKING:
    from offsite_cli.cluster.api import Api

_PAUSE = 2.0
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@grouped
def logs(
    name: JobName,
    target: Target,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the job ends, over its attempts.")
    ] = False,
    attempt: Annotated[int | None, typer.Option(help="Of one attempt alone.")] = None,
    tail: Annotated[
        int | None, typer.Option(min=0, help="The last lines of each pod alone.")
    ] = None,
    output: Format = Output.TEXT,
) -> None:
    """Show what a job's pods say. `-o json`: every line as an event."""
    api = connect(target)
    job = get_job(api, name)
    found = False
    for pod in _pods(api, job, follow=follow):
        if attempt is not None and attempt_of(pod) != attempt:
            continue
        found = True
        say(f"attempt {attempt_of(pod)}, {step_of(pod)}: {pod['metadata']['name']}")
        for line in log_of(api, pod, follow=follow, tail=tail):
            _show(line, pod, output)
    if not found:
        told = why(job)
        raise ClusterError(f"{name} has no log: {state_of(job)} ({told.reason}): {told.message}")


def _pods(api: "Api", job: Resource, *, follow: bool) -> Iterator[Resource]:
    """Give each driver's pod once it has started; to follow, until the job has ended."""
    seen: set[str] = set()
    while True:
        over = settled(job)
        for pod in enduring(drivers, api, job):
            if pod["metadata"]["uid"] not in seen and (started(pod) or ended(pod)):
                seen.add(pod["metadata"]["uid"])
                yield pod
        if over or not follow:
            return
        time.sleep(_PAUSE)
        job = enduring(get_job, api, job["metadata"]["name"])


def event_of(line: str, mark: str) -> Event:
    """Read a line of a driver's log: an event, or a log line as one.

    Args:
        mark: of the driver's pod; see `offsite.events`.
    """
    return events.event_of(line, mark) or {"event": "log", "message": line}


def _show(line: str, pod: Resource, output: Output) -> None:
    event = event_of(line, mark_of(pod))
    if output is Output.JSON:
        place: dict[str, Any] = {"attempt": attempt_of(pod), "step": step_of(pod)}
        tell({**event, "pod": {"name": pod["metadata"]["name"], **place}})
    elif event["event"] == "log":
        # colours, which Ray gives its own lines, are of no use as text
        show_text(_COLOUR.sub("", str(event.get("message"))))
    else:
        show_text(described(event))
