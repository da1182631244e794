"""Fetch the record of a job that ran on a cluster: from its pod's log, or the private store."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import ValidationError

from offsite.errors import InputError
from offsite.events import Record
from offsite.logs.kept import logged_jobs
from offsite.runs import Run
from offsite.steps.recording import RunRecords, records_named
from offsite.text import as_json
from offsite_cli.cluster.errors import ClusterError
from offsite_cli.cluster.job_status import Resource, explanation_of, state_of
from offsite_cli.cluster.jobs import get_job
from offsite_cli.cluster.kept_logs import ACCOUNT, private_of
from offsite_cli.cluster.logs import parse_line
from offsite_cli.cluster.pods import driver_pods, has_ended, mark_of, read_log, step_of
from offsite_cli.stored import open_private

if TYPE_CHECKING:
    from offsite_cli.cluster.api import Api


def fetch_run(api: "Api", name: str) -> Run:
    """Fetch the record of a job.

    The pod that published printed it. If that pod is gone, or the job did not publish, it is read
    from the private store with the account of the environment.

    Raises:
        ClusterError: There is no record that this user can read.
    """
    job = get_job(api, name)
    if (run := _printed(api, job)) is not None:
        return run
    place = private_of(api)
    in_bucket = place is not None and place.startswith("s3://")
    if place is not None and in_bucket and ACCOUNT in os.environ:
        with open_private(place) as artifacts:
            records = RunRecords(artifacts, job["metadata"]["uid"])
            if (run := records.report() or records.part()) is not None:
                return run
    why = explanation_of(job)
    problem = f"there is no record of {name}: {state_of(job)} ({why.reason}): {why.message}"
    raise ClusterError(problem, *_where(place, in_bucket))


def stored_run(private: str, name: str) -> Run:
    """Read the record of the newest job of a name from a private store, without the cluster.

    Raises:
        InputError: There is none.
        StorageError: The store is unavailable.
    """
    with open_private(private) as artifacts:
        uids = [job.uid for job in logged_jobs(artifacts, name)]
        parts = (RunRecords(artifacts, uid).part() for uid in uids)
        found = [*records_named(artifacts, name), *(run for run in parts if run is not None)]
    if not found:
        raise InputError(f"{private} has no record of a job {name}; check both names")
    return max(found, key=lambda run: run.started)


def _printed(api: "Api", job: Resource) -> Run | None:
    """Read the record that the newest pod printed that published."""
    published = [pod for pod in driver_pods(api, job) if step_of(pod) == "publish"]
    for pod in reversed([pod for pod in published if has_ended(pod)]):
        lines = read_log(api, pod, follow=False, tail=None)
        events = (parse_line(line, mark_of(pod)) for line in lines)
        for event in events:
            if isinstance(event, Record):
                return _parsed(event)
    return None


def _parsed(event: Record) -> Run | None:
    try:
        return Run.read(as_json(event.run).encode())
    except ValidationError:  # of another version
        return None


def _where(place: str | None, in_bucket: bool) -> Iterator[str]:
    if place is not None and in_bucket and ACCOUNT not in os.environ:
        yield (
            f"a record may be kept in {place}; set OFFSITE_PRIVATE_ENDPOINT and {ACCOUNT} to read "
            "it"
        )
    elif place is not None and not in_bucket:
        yield f"a record may be kept in {place}; where that claim is mounted, add --private"
