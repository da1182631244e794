"""A snapshot of the API server's objects for one job or all jobs, before interpretation."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from offsite_operator.labels import Object
from offsite_operator.observe.model import Engine


@dataclass(frozen=True)
class Raw:
    """Objects as the API server returns them. Children were read after their jobs."""

    jobs: tuple[Object, ...]
    peers: Mapping[str, Object]
    ray: bool
    children: Mapping[str, list[tuple[Engine, Object]]] = field(default_factory=dict)
    """By UID of their job."""
    pods: Mapping[str, list[Object]] = field(default_factory=dict)
    """By UID of their job, oldest first."""
    approvals: Mapping[str, list[Object]] = field(default_factory=dict)
    """OffsiteApprovals by name of their job; read only if a job may wait for one."""
    warnings: Mapping[str, list[Object]] = field(default_factory=dict)
    """By name of the object concerned, newest last."""


def names_of(child: Object, pods: list[Object]) -> list[str]:
    """List the names of a child and of the objects created for it."""
    cluster = child.get("status", {}).get("rayClusterName")
    names = [child["metadata"]["name"], *([cluster] if cluster else [])]
    return [*names, *(pod["metadata"]["name"] for pod in pods)]


def last_reported_at(event: Object) -> str:
    """Return when an Event was last reported."""
    series = (event.get("series") or {}).get("lastObservedTime")
    times = (series, event.get("lastTimestamp"), event.get("eventTime"))
    return str(next((at for at in times if at), event["metadata"]["creationTimestamp"]))
