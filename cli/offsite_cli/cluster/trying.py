"""`offsite doctor --deep`: the stores are tried by a pod, as the steps of a job reach them.

The release holds what that pod is, as a CronJob that never runs by itself; this makes a Job of it.
Whoever may make Jobs can mount every Secret of the namespace, so that it is for its administrator.
"""

import time
from collections.abc import Iterable, Iterator
from copy import deepcopy
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from offsite.errors import InputError
from offsite.events import EVENT_MARK, new_mark
from offsite_cli.cluster.facts import Resource
from offsite_cli.cluster.findings import Finding
from offsite_cli.cluster.logs import event_of
from offsite_cli.cluster.pods import ended, log_of, mark_of
from offsite_cli.cluster.release import INSTALL

if TYPE_CHECKING:
    from offsite_cli.cluster.api import Api

_NAME = "offsite-check"
_SECONDS, _PAUSE = 180.0, 1.0
"""How long the pod may take: a store that does not answer is waited for."""


def tried(api: "Api") -> Iterator[Finding]:
    """Have a pod try both stores, and say what it found."""
    jobs = ("apis/batch/v1", "jobs")
    try:
        template = api.get(api.path("apis/batch/v1", "cronjobs", _NAME))
    except InputError:
        yield Finding("stores", "fail", f"there is no CronJob {_NAME}", f"upgrade: {INSTALL}")
        return
    made = api.create(api.path(*jobs), job_of(template, f"{_NAME}-{uuid4().hex[:8]}"))
    name = made["metadata"]["name"]
    if (pod := _ended(api, name)) is None:
        told = f"the Job {name} has not ended after {_SECONDS:.0f} s"
        yield Finding("stores", "fail", told, f"kubectl describe pod -l job-name={name}")
        return
    found = list(findings_of(log_of(api, pod, follow=False, tail=None), mark_of(pod)))
    yield from found
    if pod["status"]["phase"] == "Failed" and all(each.verdict != "fail" for each in found):
        yield Finding("stores", "fail", f"{pod['metadata']['name']} failed", "see its log")
    api.delete(api.path(*jobs, name))


def job_of(template: Resource, name: str) -> Resource:
    """Make the Job that a CronJob would have made."""
    made: dict[str, Any] = deepcopy(template["spec"]["jobTemplate"])
    metadata = made["spec"]["template"].setdefault("metadata", {})
    metadata["annotations"] = {**(metadata.get("annotations") or {}), EVENT_MARK: new_mark()}
    # the server gives the template metadata, empty ones if it has none
    return {"apiVersion": "batch/v1", "kind": "Job", **made, "metadata": {"name": name}}


def findings_of(log: Iterable[str], mark: str) -> Iterator[Finding]:
    """Read what the pod's log says of each store."""
    lines = list(log)
    checks = [each for each in (event_of(line, mark) for line in lines) if each["event"] == "check"]
    for each in checks:
        yield Finding(f"{each['store']} store", each["verdict"], each["message"])
    if not checks:
        said = lines[-1] if lines else "nothing"
        remedy = "the release and the operator's image must be of one version"
        yield Finding("stores", "fail", f"the pod that tries them said: {said}", remedy)


def _ended(api: "Api", job: str) -> Resource | None:
    """Wait for the pod of the Job; None: it has not ended in time."""
    over = time.monotonic() + _SECONDS
    while time.monotonic() < over:
        for pod in api.get(api.path("api/v1", "pods"), labelSelector=f"job-name={job}")["items"]:
            if ended(pod):
                found: Resource = pod
                return found
        time.sleep(_PAUSE)
    return None
