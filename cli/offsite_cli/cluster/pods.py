"""List the pods of a job, and read their logs."""

import time
from typing import TYPE_CHECKING

from offsite.apiversion import GROUP
from offsite.errors import InputError
from offsite.events import EVENT_MARK
from offsite_cli.cluster.connection import retry_while_unavailable
from offsite_cli.cluster.errors import TEMPORARY
from offsite_cli.cluster.job_status import Resource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from offsite_cli.cluster.api import Api

_IDLE_SECONDS = 300.0
_PAUSE = 1.0


def attempt_of(pod: Resource) -> int:
    """Return the number of the attempt that a pod belongs to."""
    return int(pod["metadata"]["labels"].get(f"{GROUP}/attempt", 0))


def step_of(pod: Resource) -> str:
    """Return the step that a pod runs, such as `work`."""
    return str(pod["metadata"]["labels"].get(f"{GROUP}/step", "work"))


def mark_of(pod: Resource) -> str:
    """Return the mark of a pod's events; see `offsite.events`."""
    return str((pod["metadata"].get("annotations") or {}).get(EVENT_MARK, ""))


def pods_of(api: "Api", job: Resource, also: str = "") -> list[Resource]:
    """List the existing pods of a job.

    Args:
        also: a further label selector, with a leading comma.
    """
    labels = f"{GROUP}/job-uid={job['metadata']['uid']}{also}"
    found: list[Resource] = api.get(api.path("api/v1", "pods"), labelSelector=labels)["items"]
    return found


def driver_pods(api: "Api", job: Resource) -> list[Resource]:
    """List the pods that log for a job, oldest attempt first."""
    found = pods_of(api, job, f",{GROUP}/driver=true")
    return sorted(found, key=lambda pod: (attempt_of(pod), pod["metadata"]["creationTimestamp"]))


def has_started(pod: Resource) -> bool:
    """Whether the pod's container has run, and may have a log."""
    states = (pod.get("status") or {}).get("containerStatuses") or []
    return any("waiting" not in (each.get("state") or {"waiting": {}}) for each in states)


def has_ended(pod: Resource) -> bool:
    """Whether the pod has succeeded or failed."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def read_log(api: "Api", pod: Resource, *, follow: bool, tail: int | None) -> "Iterator[str]":
    """Yield a pod's log line by line; a broken connection is resumed where it broke.

    Args:
        follow: go on until the pod ends or is deleted.
        tail: how many of the last lines; None: all.
    """
    path = api.path("api/v1", "pods", pod["metadata"]["name"])
    query = {"timestamps": "true", "container": pod["spec"]["containers"][0]["name"]}
    query |= {"follow": "true"} if follow else {}
    query |= {} if tail is None else {"tailLines": str(tail)}
    seen = ""
    while True:
        already = seen
        try:
            for line in api.lines(f"{path}/log", seconds=_IDLE_SECONDS, **query):
                stamp, _, text = line.partition(" ")
                if stamp > already:  # timestamps have one length, so they compare as text
                    seen = max(seen, stamp)
                    yield text
        except (*TEMPORARY, InputError):
            if not follow:
                raise
        if not follow or _has_ended_or_gone(api, path):
            return
        time.sleep(_PAUSE)
        query = {key: value for key, value in query.items() if key != "tailLines"}
        query |= {"sinceTime": seen} if seen else {}


def _has_ended_or_gone(api: "Api", path: str) -> bool:
    try:
        return has_ended(retry_while_unavailable(api.get, path))
    except InputError:
        return True
