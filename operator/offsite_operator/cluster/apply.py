"""Applies a decision. Each write is safe to repeat, so an interruption anywhere is harmless."""

from datetime import UTC, datetime

from offsite.apiversion import API_VERSION
from offsite.resources import JobStatus, PeerStatus
from offsite_operator.cluster.client import (
    CONFIG_MAPS,
    EVENTS,
    JOBS,
    OFFSITE_JOBS,
    OFFSITE_PEERS,
    RAY_JOBS,
    Api,
    ApiError,
    Resource,
)
from offsite_operator.decide.decision import Decision
from offsite_operator.decide.events import EventRecord, new_events
from offsite_operator.labels import MANAGER, Object
from offsite_operator.manifests.children import NewChild
from offsite_operator.observe.builder import is_owned
from offsite_operator.observe.model import Engine, Job, Observed, Peer

_CHILDREN: dict[Engine, Resource] = {"Job": JOBS, "RayJob": RAY_JOBS}


class RejectedChild(Exception):
    """The API server rejected a child."""

    def __init__(self, error: ApiError) -> None:
        super().__init__(str(error))
        self.code = error.code


def carry_out(api: Api, seen: Observed, decision: Decision) -> None:
    """Apply a decision. Deletes children even if the status update fails.

    Raises:
        ApiError: With code 409, an object changed meanwhile; else the server refused, or does not
            answer.
        RejectedChild: The server rejected the new child.
    """
    job = seen.job
    if decision.ledger is not None and seen.peer is not None:
        write_peer(api, seen.peer, decision.ledger)
    if decision.create is not None:
        _create(api, decision.create, job.uid)
    try:
        if decision.status is not None:
            _write_status(api, job, decision.status)
    except ApiError as error:
        if error.code != 409:  # a conflict: the next reconcile decides again
            _stop(api, decision)
        raise
    _stop(api, decision)
    if decision.delete_job:
        api.delete(OFFSITE_JOBS, job.name, job.uid)


def _write_status(api: Api, job: Job, status: JobStatus) -> None:
    body = _resource("OffsiteJob", job.name, job.version)
    api.apply(OFFSITE_JOBS, body | {"status": status.wire()}, "status")
    for record in new_events(job.status, status):
        _create_event(api, job, record)


def _stop(api: Api, decision: Decision) -> None:
    for child in decision.delete:
        api.delete(_CHILDREN[child.kind], child.name, child.uid)


def write_peer(api: Api, peer: Peer, status: PeerStatus) -> None:
    """Write a peer's status unless it has changed since it was read, so that no ledger entry is
    lost.

    Raises:
        ApiError: With code 409, the status has changed.
    """
    body = _resource("OffsitePeer", peer.alias, peer.version)
    api.apply(OFFSITE_PEERS, body | {"status": status.wire()}, "status")


def _resource(kind: str, name: str, version: str) -> Object:
    metadata = {"name": name, "resourceVersion": version}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata}


def _create(api: Api, new: NewChild, owner: str) -> None:
    """Create a child and its task. Leaves objects of the same name alone that others own.

    Server-side apply cannot express "create only", and would overwrite them.
    """
    for resource, body in ((CONFIG_MAPS, new.task), (_CHILDREN[new.kind], new.child)):
        name = body["metadata"]["name"]
        try:
            api.create(resource, body)
        except ApiError as error:
            if error.code != 409:
                raise RejectedChild(error) if _concerns_child(error.code) else error from error
            there = api.get(resource, name)
            if there is None or not is_owned(there, owner):
                detail = f"a {body['kind']} {name} exists that this job does not own; delete it"
                raise RejectedChild(ApiError(409, detail)) from error
            if resource is CONFIG_MAPS:  # left by an attempt that a suspension stopped
                api.apply(resource, _if_unchanged(body, there))


def _concerns_child(code: int) -> bool:
    """Return whether an HTTP code is about the child; 5xx includes an unavailable webhook."""
    return code in (400, 403, 422, 429) or code >= 500


def _if_unchanged(body: Object, there: Object) -> Object:
    """Add the object's `resourceVersion`, so that the write fails after a concurrent change."""
    version = there["metadata"]["resourceVersion"]
    return body | {"metadata": body["metadata"] | {"resourceVersion": version}}


def _create_event(api: Api, job: Job, record: EventRecord) -> None:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    reference = {"apiVersion": API_VERSION, "kind": "OffsiteJob", "name": job.name, "uid": job.uid}
    body = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": record.name(job.name, job.uid)},
        "involvedObject": reference | {"namespace": api.namespace},
        "type": record.type,
        "reason": record.reason,
        "message": record.message[:1024],
        "source": {"component": MANAGER},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
    try:
        api.create(EVENTS, body)
    except ApiError as error:
        if error.code != 409:  # the Event exists
            raise
