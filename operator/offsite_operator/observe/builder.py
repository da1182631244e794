"""Builds the state that `reconcile` observes from the objects of the API server."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from itertools import chain
from typing import get_args

from pydantic import ValidationError

from offsite.api import JobSpec, Resources
from offsite.api.problems import reason
from offsite.resources import AUTHOR, JobStatus, OffsiteApproval, OffsitePeer, Step
from offsite_operator.labels import ACCEPT_KEYS, ATTEMPT, DRIVER, ROUND, STEP, Object
from offsite_operator.observe.job_states import instant, job_state, rayjob_state
from offsite_operator.observe.model import (
    ENDED,
    Child,
    ChildState,
    Engine,
    Job,
    Observed,
    Peer,
    Phase,
    StartupProblem,
)
from offsite_operator.observe.snapshot import Raw, names_of
from offsite_operator.observe.startup_problems import startup_problem, unresolved
from offsite_operator.observe.step_log import StepReport
from offsite_operator.observe.terminations import ended_because, never_starts
from offsite_operator.settings import Settings

ReadLogs = Callable[[Sequence[Object], bool], StepReport | None]
"""Reads the logs of an attempt's drivers; see `LogCursor.report`."""
_STEPS: dict[str, Step] = {step.lower(): step for step in get_args(Step)}


def observed_job(
    raw: Raw, found: Object, settings: Settings, now: datetime, read_logs: ReadLogs
) -> Observed:
    """Build the observed state of one job."""
    job = job_of(found)
    # a child exists only if its job's spec was valid
    reader = _Reader(raw, settings, now, read_logs, job.spec.resources if job.spec else Resources())
    peer = raw.peers.get(job.spec.peer) if job.spec else None
    return Observed(
        job=job,
        settings=settings,
        now=now,
        ray=raw.ray,
        children=tuple(reader.children(job.uid)),
        peer=peer_of(peer) if peer is not None else None,
        approvals=tuple(_approvals(raw.approvals.get(job.name, []))),
    )


def job_of(found: Object) -> Job:
    """Convert an OffsiteJob."""
    metadata = found["metadata"]
    spec, problem = _spec(found.get("spec"))
    return Job(
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        created=datetime.fromisoformat(metadata["creationTimestamp"]),
        spec=spec,
        problem=problem,
        status=JobStatus.model_validate(found.get("status") or {}),
        version=metadata["resourceVersion"],
        deleting="deletionTimestamp" in metadata,
        author=metadata.get("annotations", {}).get(AUTHOR) or None,
    )


def _approvals(found: Sequence[Object]) -> Iterator[OffsiteApproval]:
    for each in sorted(found, key=lambda each: str(each["metadata"]["creationTimestamp"])):
        # one of another version is none: the job keeps waiting
        with suppress(ValidationError):
            if "deletionTimestamp" not in each["metadata"]:
                yield OffsiteApproval.read(each)


def peer_of(found: Object) -> Peer:
    """Convert an OffsitePeer."""
    peer = OffsitePeer.read(found)
    metadata = found["metadata"]
    return Peer(
        alias=metadata["name"],
        id=peer.spec.id,
        public=peer.spec.public,
        generation=metadata.get("generation", 0),
        status=peer.status,
        uid=metadata["uid"],
        version=metadata["resourceVersion"],
        vouched=metadata.get("annotations", {}).get(ACCEPT_KEYS),
    )


def _spec(content: object) -> tuple[JobSpec | None, str]:
    try:
        return JobSpec.model_validate(content, by_name=False), ""
    except ValidationError as error:
        return None, (
            f"this version of the operator does not understand the spec ({reason(error)}); upgrade "
            "the charts offsite-crds and offsite together"
        )


class _Reader:
    """Converts the children of one job."""

    def __init__(
        self, raw: Raw, settings: Settings, now: datetime, read_logs: ReadLogs, asked: Resources
    ) -> None:
        self._raw, self._settings, self._now, self._read_logs = raw, settings, now, read_logs
        self._asked = asked

    def children(self, job: str) -> list[Child]:
        pods = self._raw.pods.get(job, [])
        found = self._raw.children.get(job, [])
        # objects with our labels but another owner are left alone
        own = ((kind, child) for kind, child in found if is_owned(child, job))
        return [child for kind, each in own if (child := self._child(kind, each, pods))]

    def _child(self, kind: Engine, found: Object, all_pods: list[Object]) -> Child | None:
        metadata = found["metadata"]
        labels = metadata.get("labels", {})
        step, attempt, round_ = (labels.get(each, "") for each in (STEP, ATTEMPT, ROUND))
        if step not in _STEPS or not attempt.isdecimal() or not round_.isdecimal():
            return None
        pods = [pod for pod in all_pods if _is_of(pod, labels)]
        state = self._state(kind, found, pods)
        drivers = [pod for pod in pods if DRIVER in pod["metadata"]["labels"]]
        started = state.phase not in (Phase.PENDING, Phase.QUEUED)
        return Child(
            name=metadata["name"],
            kind=kind,
            uid=metadata["uid"],
            step=_STEPS[step],
            attempt=int(attempt),
            round=int(round_),
            created=datetime.fromisoformat(metadata["creationTimestamp"]),
            deleting="deletionTimestamp" in metadata,
            state=state,
            report=self._read_logs(drivers, state.phase in ENDED) if started else None,
            deleted=instant(metadata.get("deletionTimestamp")),
            startup_problem=None if started else self._startup_problem(kind, found, pods),
        )

    def _state(self, kind: Engine, found: Object, pods: list[Object]) -> ChildState:
        state = rayjob_state(found, self._now) if kind == "RayJob" else job_state(found, pods)
        if state.phase is not Phase.FAILED:
            return state
        because = ended_because(pods, self._asked.memory_per_worker)
        permanent = state.permanent or never_starts(pods)
        return replace(state, message=because or state.message, permanent=permanent)

    def _startup_problem(
        self, kind: Engine, found: Object, pods: list[Object]
    ) -> StartupProblem | None:
        since = found["metadata"]["creationTimestamp"]
        named = (self._raw.warnings.get(name, []) for name in names_of(found, pods))
        report = unresolved(chain.from_iterable(named), since, pods)
        workers = self._asked.workers if kind == "RayJob" else 1
        return startup_problem(pods, report, self._settings.gpu_resource, self._now, workers)


def is_owned(found: Object, uid: str) -> bool:
    """Return whether the object with that UID controls this one."""
    owners = found["metadata"].get("ownerReferences", ())
    return any(owner.get("controller") and owner["uid"] == uid for owner in owners)


def _is_of(pod: Object, labels: dict[str, str]) -> bool:
    own = pod["metadata"].get("labels", {})
    return all(own.get(label) == labels[label] for label in (STEP, ATTEMPT, ROUND))
