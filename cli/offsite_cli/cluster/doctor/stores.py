"""Checks of the exchange and the private store, which only the operator and the pods reach.

`check_stores` judges them by the status of jobs, so a finding is as old as its job. `probe_stores`
(`--deep`) tests them from a pod, as the steps of a job reach them. The pod's template is a CronJob
of the release that never runs by itself. Creating Jobs is for the namespace's administrator, since
a Job can mount every Secret of the namespace.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from offsite.errors import InputError
from offsite.events import EVENT_MARK, Check, new_mark
from offsite_cli.cluster.doctor.finding import Finding
from offsite_cli.cluster.doctor.release import INSTALL
from offsite_cli.cluster.job_status import (
    Resource,
    explanation_of,
    format_duration,
    name_of,
    parse_time,
    state_of,
    status_of,
)
from offsite_cli.cluster.jobs import list_jobs
from offsite_cli.cluster.logs import parse_line
from offsite_cli.cluster.pods import has_ended, mark_of, read_log

if TYPE_CHECKING:
    from offsite_cli.cluster.api import Api

_STORE_ERRORS = ("StorageError", "UnreachableError", "NotAllowedError")
"""Reasons of failed steps; after several attempts they are in the message."""
_NAME = "offsite-check"
_PROBE_SECONDS, _PAUSE = 180.0, 1.0
"""The pod waits for a store that does not answer, so it may take long."""


def check_stores(api: "Api") -> Iterator[Finding]:
    """Judge both stores by the status of the namespace's jobs."""
    return findings_from_jobs(list_jobs(api)["items"], datetime.now(UTC))


def findings_from_jobs(jobs: Sequence[Resource], now: datetime) -> Iterator[Finding]:
    """Judge the exchange by the jobs that wait, and both stores by the job that ended last.

    Args:
        now: the time that ages are relative to.
    """
    waiting = [*_exchange_findings(jobs)]
    yield from waiting
    ended = [job for job in jobs if status_of(job).get("completionTime") and _concerns_stores(job)]
    if ended:
        yield _outcome_finding(max(ended, key=_end_of), now)
    elif not waiting:
        message = "only the operator and the pods reach them, and no job here has used them yet"
        yield Finding("stores", "skip", message, "test them with: offsite doctor --deep")


def probe_stores(api: "Api") -> Iterator[Finding]:
    """Test both stores from a pod."""
    jobs = ("apis/batch/v1", "jobs")
    try:
        template = api.get(api.path("apis/batch/v1", "cronjobs", _NAME))
    except InputError:
        message, remedy = f"there is no CronJob {_NAME}", f"upgrade the chart: {INSTALL}"
        yield Finding("stores", "fail", message, remedy)
        return
    made = api.create(api.path(*jobs), job_from_cronjob(template, f"{_NAME}-{uuid4().hex[:8]}"))
    name = made["metadata"]["name"]
    if (pod := _wait_for_pod(api, name)) is None:
        message = f"the Job {name} has not ended after {_PROBE_SECONDS:.0f} s"
        yield Finding("stores", "fail", message, f"kubectl describe pod -l job-name={name}")
        return
    found = list(findings_from_log(read_log(api, pod, follow=False, tail=None), mark_of(pod)))
    yield from found
    if pod["status"]["phase"] == "Failed" and all(each.verdict != "fail" for each in found):
        pod_name = pod["metadata"]["name"]
        yield Finding("stores", "fail", f"{pod_name} failed", f"kubectl logs {pod_name}")
    api.delete(api.path(*jobs, name))


def job_from_cronjob(template: Resource, name: str) -> Resource:
    """Return the Job that a CronJob would create, with a new event mark."""
    made: dict[str, Any] = deepcopy(template["spec"]["jobTemplate"])
    metadata = made["spec"]["template"].setdefault("metadata", {})
    metadata["annotations"] = {**(metadata.get("annotations") or {}), EVENT_MARK: new_mark()}
    # the server adds empty metadata to a template that has none
    return {"apiVersion": "batch/v1", "kind": "Job", **made, "metadata": {"name": name}}


def findings_from_log(log: Iterable[str], mark: str) -> Iterator[Finding]:
    """Read the findings for each store from the log of the pod."""
    lines = list(log)
    events = (parse_line(line, mark) for line in lines)
    checks = [each for each in events if isinstance(each, Check)]
    for each in checks:
        yield Finding(f"{each.store} store", each.verdict, each.message)
    if not checks:
        last = f": {lines[-1]}" if lines else " (empty log)"
        remedy = "use one version of the chart and of the operator's image"
        yield Finding("stores", "fail", f"the pod reported no result{last}", remedy)


def _exchange_findings(jobs: Sequence[Resource]) -> Iterator[Finding]:
    """Report how the operator reaches the exchange, which it reads while a job waits."""
    found = {explanation_of(each).reason: each for each in jobs if state_of(each) == "Pending"}
    if job := found.get("ExchangeUnreachable"):
        message = f"the operator cannot read the exchange: {explanation_of(job).message}"
        yield Finding("stores", "fail", message, "check `exchange` in the Helm values")
    elif job := found.get("WaitingForBundle"):
        message = f"the operator reads the exchange; {name_of(job)} waits for a bundle"
        yield Finding("stores", "ok", message)


def _outcome_finding(job: Resource, now: datetime) -> Finding:
    ago = f"{format_duration((now - _end_of(job)).total_seconds())} ago"
    if state_of(job) == "Complete":
        return Finding("stores", "ok", f"{name_of(job)} used both successfully, {ago}")
    message = f"a store failed {name_of(job)}, {ago}: {explanation_of(job).message}"
    return Finding("stores", "warn", message, f"fix it, then run: offsite retry {name_of(job)}")


def _concerns_stores(job: Resource) -> bool:
    """Whether the outcome of a job says something about the stores."""
    reason_and_message = ": ".join(explanation_of(job))
    failed_by_store = any(reason in reason_and_message for reason in _STORE_ERRORS)
    return state_of(job) == "Complete" or failed_by_store


def _end_of(job: Resource) -> datetime:
    return parse_time(status_of(job)["completionTime"])


def _wait_for_pod(api: "Api", job: str) -> Resource | None:
    """Wait for the pod of a Job to end; None: it has not ended in time."""
    deadline = time.monotonic() + _PROBE_SECONDS
    while time.monotonic() < deadline:
        for pod in api.get(api.path("api/v1", "pods"), labelSelector=f"job-name={job}")["items"]:
            if has_ended(pod):
                found: Resource = pod
                return found
        time.sleep(_PAUSE)
    return None
