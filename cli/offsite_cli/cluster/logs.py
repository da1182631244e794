"""`offsite logs`: show the logs of a job's pods, over all attempts."""

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from offsite import events
from offsite.events import Event, Log
from offsite_cli.cluster.connection import Target, connect, retry_while_unavailable
from offsite_cli.cluster.errors import ClusterError
from offsite_cli.cluster.job_status import Resource, explanation_of, is_settled, state_of
from offsite_cli.cluster.jobs import JobName, get_job
from offsite_cli.cluster.pods import (
    attempt_of,
    driver_pods,
    has_ended,
    has_started,
    mark_of,
    read_log,
    step_of,
)
from offsite_cli.event_lines import format_event
from offsite_cli.options import Format, grouped, private_option
from offsite_cli.output import Output, show_info, show_json_line, show_text

if TYPE_CHECKING:
    from offsite_cli.cluster.api import Api

_PAUSE = 2.0
_COLOUR = re.compile(r"(\x1b|\\x1b)\[[0-9;]*m")
"""A colour code, also of a kept log, which is escaped."""


@dataclass(frozen=True)
class Wanted:
    """What to show of logs."""

    attempt: int | None
    """None: every attempt."""
    tail: int | None
    """Number of last lines of each log; None: all."""
    output: Output


@grouped
def logs(
    name: JobName,
    target: Target,
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Follow the log until the job ends, over attempts."),
    ] = False,
    attempt: Annotated[int | None, typer.Option(help="Show only this attempt.")] = None,
    tail: Annotated[
        int | None, typer.Option(min=0, help="Show only the last lines of each pod.")
    ] = None,
    private: Annotated[
        str | None,
        private_option("Show the logs that are kept there, without the cluster."),
    ] = None,
    output: Format = Output.TEXT,
) -> None:
    """Show the logs of a job's pods, also of pods that are gone.

    The logs of pods that are gone are read from the private store: set OFFSITE_PRIVATE_ENDPOINT and
    OFFSITE_PRIVATE_CREDENTIALS, or --private. `-o json` prints each line as an event.
    """
    # they import what reads a store
    from offsite_cli.cluster.kept_logs import (
        show_kept_logs_of,
        show_logs_of_gone_pods,
        where_logs_are_kept,
    )

    wanted = Wanted(attempt, tail, output)
    if private is not None:
        show_kept_logs_of(name, private, wanted)
        return
    api = connect(target)
    job = get_job(api, name)
    found = show_logs_of_gone_pods(api, job, wanted)
    for pod in _pods(api, job, follow=follow):
        if attempt is not None and attempt_of(pod) != attempt:
            continue
        found = True
        show_info(f"attempt {attempt_of(pod)}, {step_of(pod)}: {pod['metadata']['name']}")
        for line in read_log(api, pod, follow=follow, tail=tail):
            _show_line(line, pod, output)
    if not found:
        why = explanation_of(job)
        raise ClusterError(
            f"{name} has no logs: {state_of(job)} ({why.reason}): {why.message}",
            *where_logs_are_kept(api, job),
        )


def parse_line(line: str, mark: str) -> Event:
    """Parse a line of a driver's log as an event; any other line becomes a `log` event.

    Args:
        mark: of the driver's pod; see `offsite.events`.
    """
    # an event of another version is shown as it is
    text = events.marked_text(line, mark) or line
    return events.parse_line(line, mark) or Log(message=text)


def show_log_event(event: Event, place: Mapping[str, Any], output: Output) -> None:
    """Show one line of a log.

    Args:
        place: Further fields of the line in JSON.
    """
    if output is Output.JSON:
        show_json_line({**event.wire(), **place})
    elif isinstance(event, Log):
        # Ray colours its own lines
        show_text(_COLOUR.sub("", event.message))
    else:
        show_text(format_event(event))


def _pods(api: "Api", job: Resource, *, follow: bool) -> Iterator[Resource]:
    """Yield each driver pod once it has started; with `follow`, until the job has ended."""
    seen: set[str] = set()
    while True:
        over = is_settled(job)
        for pod in retry_while_unavailable(driver_pods, api, job):
            if pod["metadata"]["uid"] not in seen and (has_started(pod) or has_ended(pod)):
                seen.add(pod["metadata"]["uid"])
                yield pod
        if over or not follow:
            return
        time.sleep(_PAUSE)
        job = retry_while_unavailable(get_job, api, job["metadata"]["name"])


def _show_line(line: str, pod: Resource, output: Output) -> None:
    place = {"name": pod["metadata"]["name"], "attempt": attempt_of(pod), "step": step_of(pod)}
    show_log_event(parse_line(line, mark_of(pod)), {"pod": place}, output)
