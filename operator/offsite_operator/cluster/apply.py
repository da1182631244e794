"""Applies a decision, in an order that may be interrupted anywhere."""

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
from offsite_operator.decide.events import EventRecord, story
from offsite_operator.labels import MANAGER, Object
from offsite_operator.manifests.children import NewChild
from offsite_operator.observe.builder import is_owned
from offsite_operator.observe.model import Engine, Job, Observed, Peer

_CHILDREN: dict[Engine, Resource] = {"Job": JOBS, "RayJob": RAY_JOBS}


class RejectedChild(Exception):
    """The API server does not take a child."""

    def __init__(self, error: ApiError) -> None:
        super().__init__(str(error))
        self.code = error.code


def carry_out(api: Api, seen: Observed, decision: Decision) -> None:
    """Carry out a decision. Deletes children even if the status update fails.

    Raises:
        ApiError: 409: something changed meanwhile; else the server refused, or does not answer.
        RejectedChild: it does not take the new child.
    """
    job = seen.job
    if decision.ledger is not None and seen.peer is not None:
        write_peer(api, seen.peer, decision.ledger)
    if decision.create is not None:
        _create(api, decision.create, job.uid)
    try:
        if decision.status is not None:
            _say(api, job, decision.status)
    except ApiError as error:
        if error.code != 409:  # then it is decided anew; but for that, what is to stop stops
            _stop(api, decision)
        raise
    _stop(api, decision)
    if decision.delete_job:
        api.delete(OFFSITE_JOBS, job.name, job.uid)


def _say(api: Api, job: Job, status: JobStatus) -> None:
    body = _resource("OffsiteJob", job.name, job.version)
    api.apply(OFFSITE_JOBS, body | {"status": status.wire()}, "status")
    for chapter in story(job.status, status):
        _tell(api, job, chapter)


def _stop(api: Api, decision: Decision) -> None:
    for child in decision.delete:
        api.delete(_CHILDREN[child.kind], child.name, child.uid)


def write_peer(api: Api, peer: Peer, status: PeerStatus) -> None:
    """Write a peer's status, if nobody wrote it since it was read: its ledger loses nothing.

    Raises:
        ApiError: 409: somebody did.
    """
    body = _resource("OffsitePeer", peer.alias, peer.version)
    api.apply(OFFSITE_PEERS, body | {"status": status.wire()}, "status")


def _resource(kind: str, name: str, version: str) -> Object:
    metadata = {"name": name, "resourceVersion": version}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata}


def _create(api: Api, new: NewChild, owner: str) -> None:
    """Create a child and its task. Objects of the same name that belong to others are left alone.

    Not by server-side apply, which would: it cannot say "only if there is none".
    """
    for resource, body in ((CONFIG_MAPS, new.task), (_CHILDREN[new.kind], new.child)):
        name = body["metadata"]["name"]
        try:
            api.create(resource, body)
        except ApiError as error:
            if error.code != 409:
                raise RejectedChild(error) if _is_told(error.code) else error from error
            there = api.get(resource, name)
            if there is None or not is_owned(there, owner):
                said = f"a {body['kind']} {name} is there that is not this job's; delete it"
                raise RejectedChild(ApiError(409, said)) from error
            if resource is CONFIG_MAPS:  # of an attempt that a suspension ended
                api.apply(resource, _as_seen(body, there))


def _is_told(code: int) -> bool:
    """Whether a server says something about the child: also a webhook of it that is away does."""
    return code in (400, 403, 422, 429) or code >= 500


def _as_seen(body: Object, there: Object) -> Object:
    """Say that an object is to be changed only if it is still the one that was looked at."""
    version = there["metadata"]["resourceVersion"]
    return body | {"metadata": body["metadata"] | {"resourceVersion": version}}


def _tell(api: Api, job: Job, chapter: EventRecord) -> None:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    reference = {"apiVersion": API_VERSION, "kind": "OffsiteJob", "name": job.name, "uid": job.uid}
    body = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": chapter.name(job.name, job.uid)},
        "involvedObject": reference | {"namespace": api.namespace},
        "type": chapter.type,
        "reason": chapter.reason,
        "message": chapter.message[:1024],
        "source": {"component": MANAGER},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
    try:
        api.create(EVENTS, body)
    except ApiError as error:
        if error.code != 409:  # it was told already
            raise
