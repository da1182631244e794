"""The pods whose logs tell a job's story, attempt by attempt."""

import time
from typing import TYPE_CHECKING

from offsite.apiversion import GROUP
from offsite.errors import InputError
from offsite.events import EVENT_MARK
from offsite_cli.cluster.errors import AWAY
from offsite_cli.cluster.facts import Resource
from offsite_cli.cluster.outages import enduring

if TYPE_CHECKING:
    from collections.abc import Iterator

    from offsite_cli.cluster.api import Api

_SILENCE = 300.0
_PAUSE = 1.0


def attempt_of(pod: Resource) -> int:
    """Read which attempt a pod is of."""
    return int(pod["metadata"]["labels"].get(f"{GROUP}/attempt", 0))


def step_of(pod: Resource) -> str:
    """Read which step a pod is of: open, work or publish; or hear or tell, about a failure."""
    return str(pod["metadata"]["labels"].get(f"{GROUP}/step", "work"))


def mark_of(pod: Resource) -> str:
    """Read the mark of a pod's events; see `offsite.events`."""
    return str((pod["metadata"].get("annotations") or {}).get(EVENT_MARK, ""))


def pods_of(api: "Api", job: Resource, also: str = "") -> list[Resource]:
    """List the pods that were made for a job and are there still.

    Args:
        also: a further condition on their labels, after a comma.
    """
    labels = f"{GROUP}/job-uid={job['metadata']['uid']}{also}"
    found: list[Resource] = api.get(api.path("api/v1", "pods"), labelSelector=labels)["items"]
    return found


def drivers(api: "Api", job: Resource) -> list[Resource]:
    """List the pods that speak for a job, in the order in which they spoke."""
    found = pods_of(api, job, f",{GROUP}/driver=true")
    return sorted(found, key=lambda pod: (attempt_of(pod), pod["metadata"]["creationTimestamp"]))


def started(pod: Resource) -> bool:
    """Tell whether the pod's container has run, so that it may have a log."""
    states = (pod.get("status") or {}).get("containerStatuses") or []
    return any("waiting" not in (each.get("state") or {"waiting": {}}) for each in states)


def ended(pod: Resource) -> bool:
    """Tell whether nothing more will come of the pod."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def log_of(api: "Api", pod: Resource, *, follow: bool, tail: int | None) -> "Iterator[str]":
    """Read a pod's log line by line. A connection that breaks is taken up where it broke.

    To follow one is to come to its end, also if that is that the pod is deleted.

    Args:
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
            for line in api.lines(f"{path}/log", seconds=_SILENCE, **query):
                stamp, _, text = line.partition(" ")
                if stamp > already:  # all are of one length, so they compare as text
                    seen = max(seen, stamp)
                    yield text
        except (*AWAY, InputError):
            if not follow:
                raise
        if not follow or _is_over(api, path):
            return
        time.sleep(_PAUSE)
        query = {key: value for key, value in query.items() if key != "tailLines"}
        query |= {"sinceTime": seen} if seen else {}


def _is_over(api: "Api", path: str) -> bool:
    """Whether a pod has ended, or is gone."""
    try:
        return ended(enduring(api.get, path))
    except InputError:
        return True
