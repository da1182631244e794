"""Reads the objects that concern one job, or all jobs, from the API server."""

from collections.abc import Iterable, Iterator
from typing import Any

from offsite_operator.cluster.client import (
    EVENTS,
    JOBS,
    OFFSITE_APPROVALS,
    OFFSITE_JOBS,
    OFFSITE_PEERS,
    PODS,
    RAY_JOBS,
    Api,
)
from offsite_operator.labels import JOB_UID, MANAGED_BY, MANAGER, Object
from offsite_operator.observe.job_states import is_starting
from offsite_operator.observe.model import Engine
from offsite_operator.observe.snapshot import Raw, last_reported_at, names_of

_WARNING = "type=Warning"


def read_all(api: Api) -> Raw:
    """Read all objects, in few calls.

    Raises:
        ApiError: The server refused, or does not answer.
    """
    jobs = tuple(api.list(OFFSITE_JOBS))
    peers = {peer["metadata"]["name"]: peer for peer in api.list(OFFSITE_PEERS)}
    ray, labels = api.serves(RAY_JOBS), f"{MANAGED_BY}={MANAGER}"
    children = _by_job(_children(api, ray, labels), lambda pair: pair[1])
    pods = _by_job(_by_age(api.list(PODS, labels=labels)), lambda pod: pod)
    warnings = _warnings(api.list(EVENTS, fields=_WARNING))
    return Raw(jobs, peers, ray, children, pods, _approvals(api, jobs), warnings)


def read_one(api: Api, name: str) -> Raw | None:
    """Read the objects of one job; None: the job does not exist.

    Raises:
        ApiError: As for `read_all`.
    """
    job = api.get(OFFSITE_JOBS, name)
    if job is None:
        return None
    uid = job["metadata"]["uid"]
    alias = str(job.get("spec", {}).get("peer", ""))
    peer = api.get(OFFSITE_PEERS, alias) if alias else None
    ray, labels = api.serves(RAY_JOBS), f"{JOB_UID}={uid}"
    children = list(_children(api, ray, labels))
    pods = _by_age(api.list(PODS, labels=labels)) if children else []
    events = [event for name in starting(children, pods) for event in _warnings_about(api, name)]
    peers = {alias: peer} if peer is not None else {}
    approvals = _approvals(api, (job,))
    return Raw((job,), peers, ray, {uid: children}, {uid: pods}, approvals, _warnings(events))


def _approvals(api: Api, jobs: Iterable[Object]) -> dict[str, list[Object]]:
    """Read the approvals by job, if one of some jobs may wait for one."""
    if all((job.get("status") or {}).get("step") != "Report" for job in jobs):
        return {}
    found: dict[str, list[Object]] = {}
    for each in api.list(OFFSITE_APPROVALS):
        found.setdefault(str(each["spec"]["job"]), []).append(each)
    return found


def _children(api: Api, ray: bool, labels: str) -> Iterator[tuple[Engine, Object]]:
    yield from (("Job", each) for each in api.list(JOBS, labels=labels))
    if ray:
        yield from (("RayJob", each) for each in api.list(RAY_JOBS, labels=labels))


def starting(children: list[tuple[Engine, Object]], pods: list[Object]) -> Iterator[str]:
    """Yield the names of objects whose Warning events matter: those of children without running
    pods.
    """
    for kind, child in children:
        # a RayCluster waits for its workers while its head runs
        if is_starting(child) if kind == "RayJob" else _is_awaited(child, pods):
            yield from names_of(child, pods)


def _is_awaited(job: Object, pods: list[Object]) -> bool:
    status = job.get("status") or {}
    ended = status.get("completionTime") or status.get("failed")
    return not ended and all(pod.get("status", {}).get("phase") != "Running" for pod in pods)


def _warnings_about(api: Api, name: str) -> list[Object]:
    return api.list(EVENTS, fields=f"{_WARNING},involvedObject.name={name}")


def _warnings(events: list[Object]) -> dict[str, list[Object]]:
    found: dict[str, list[Object]] = {}
    for event in sorted(events, key=last_reported_at):
        found.setdefault(event["involvedObject"].get("name", ""), []).append(event)
    return found


def _by_age(pods: list[Object]) -> list[Object]:
    return sorted(pods, key=lambda pod: pod["metadata"]["creationTimestamp"])


def _by_job(objects: Any, object_of: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for each in objects:
        labels = object_of(each)["metadata"].get("labels", {})
        found.setdefault(labels.get(JOB_UID, ""), []).append(each)
    return found
