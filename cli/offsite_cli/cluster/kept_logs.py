"""Show logs of pods that are gone, which the pods kept in the private store (`offsite.logs`)."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from offsite.errors import InputError, OffsiteError
from offsite.logs.kept import KeptLog, KeptLogs, logged_jobs
from offsite.logs.lines import KeptLine
from offsite_cli.cluster.doctor.release import read_settings
from offsite_cli.cluster.errors import ClusterForbidden
from offsite_cli.cluster.job_status import Resource, name_of
from offsite_cli.cluster.logs import Wanted, show_log_event
from offsite_cli.cluster.pods import attempt_of, driver_pods, step_of
from offsite_cli.output import Output, show_info
from offsite_cli.stored import open_private

if TYPE_CHECKING:
    from offsite_cli.cluster.api import Api

ACCOUNT = "OFFSITE_PRIVATE_CREDENTIALS"
"""The variable that names the file with the account of the private store."""


def show_kept_logs_of(name: str, private: str, wanted: Wanted) -> None:
    """Show all kept logs of the newest job of a name.

    Raises:
        InputError: The store has no logs of such a job.
        StorageError: The store is unavailable.
    """
    with open_private(private) as artifacts:
        jobs = logged_jobs(artifacts, name)
        if not jobs:
            raise InputError(f"{private} has no logs of a job {name}; check both names")
        if len(jobs) > 1:
            show_info(f"{len(jobs)} jobs had the name {name}; this is the newest, {jobs[-1].uid}")
        kept = KeptLogs(artifacts, jobs[-1].uid)
        if not _show(kept, kept.list(), wanted):
            raise InputError(f"{private} has no logs of attempt {wanted.attempt} of {name}")


def show_logs_of_gone_pods(api: "Api", job: Resource, wanted: Wanted) -> bool:
    """Show the kept logs of pods that no longer exist, if the environment has an account.

    Returns:
        Whether there were any.
    """
    place = private_of(api)
    if place is None or not place.startswith("s3://") or ACCOUNT not in os.environ:
        return False
    there = {(attempt_of(pod), step_of(pod)) for pod in driver_pods(api, job)}
    try:
        with open_private(place) as artifacts:
            kept = KeptLogs(artifacts, job["metadata"]["uid"])
            gone = [log for log in kept.list() if (log.name.attempt, log.name.step) not in there]
            return _show(kept, gone, wanted)
    except OffsiteError as error:  # those of existing pods are shown anyway
        show_info(f"cannot read the logs that are kept in {place}: {error}")
        return False


def where_logs_are_kept(api: "Api", job: Resource) -> Iterator[str]:
    """Explain how to read the logs of a job whose pods are gone."""
    place = private_of(api)
    if place is None or ACCOUNT in os.environ:
        return
    if place.startswith("s3://"):
        yield (
            f"the logs of pods that are gone are kept in {place}; set OFFSITE_PRIVATE_ENDPOINT and "
            f"{ACCOUNT} to read them"
        )
    else:
        yield (
            f"the logs of pods that are gone are kept in {place}; where that claim is mounted, run "
            f"offsite logs {name_of(job)} --private file:///FOLDER"
        )


def private_of(api: "Api") -> str | None:
    """Return the address of the private store; None: this user cannot read the settings."""
    try:
        settings = read_settings(api) or {}
    except ClusterForbidden:
        return None
    uri = (settings.get("private") or {}).get("uri")
    return uri if isinstance(uri, str) else None


def _show(kept: KeptLogs, logs: Iterable[KeptLog], wanted: Wanted) -> bool:
    shown = False
    for log in logs:
        if wanted.attempt not in (None, log.name.attempt):
            continue
        shown = True
        show_info(f"attempt {log.name.attempt}, {log.name.step}: kept since {log.name.started}")
        for line in _last(kept.lines(log), wanted.tail):
            _show_line(line, log, wanted.output)
    return shown


def _last(lines: Iterator[KeptLine], tail: int | None) -> Iterable[KeptLine]:
    return lines if tail is None else deque(lines, maxlen=tail)


def _show_line(line: KeptLine, log: KeptLog, output: Output) -> None:
    name = log.name
    place: dict[str, Any] = {"name": None, "attempt": name.attempt, "step": name.step}
    at = None if line.at is None else line.at.isoformat(timespec="milliseconds")
    show_log_event(line.event, {"at": at, "pod": place}, output)
