"""The plan of one child: everything that its manifests are built from."""

import math
from dataclasses import dataclass, replace
from datetime import datetime

from offsite.api import JobSpec, Metadata, OffsiteJob
from offsite.apiversion import API_VERSION
from offsite.resources import Step
from offsite.task import Task
from offsite_operator.labels import child_labels, child_name
from offsite_operator.observe.model import Engine, Observed, Peer, round_of
from offsite_operator.settings import Settings

_AFTER_DEADLINE = 60
"""Seconds for the operator to end a job before its cluster does."""


@dataclass(frozen=True)
class Plan:
    """One attempt at one step."""

    job: str
    uid: str
    spec: JobSpec
    settings: Settings
    peer: Peer
    step: Step
    attempt: int
    round: int
    engine: Engine
    mark: str
    """Of the events of its pods."""
    envelope: str | None = None
    sequence: int | None = None
    jobs: frozenset[str] | None = None
    """The UIDs of all jobs; None: they were not listed yet."""
    listed: datetime | None = None
    """When those were all."""
    reason: str | None = None
    """Of Tell: why the job failed, and what the peer learns."""
    message: str = ""
    seconds: int | None = None
    """How long it may run although no operator looks; None: for ever."""

    @property
    def name(self) -> str:
        """Of the child, and of the ConfigMap with its task."""
        # each notice is heard once, each round of a job told once
        heard = (self.envelope or "")[7:15]
        mark = heard if self.step == "ReadNotice" else str(self.attempt)
        return child_name(self.job, self.uid, mark, self.step)

    @property
    def labels(self) -> dict[str, str]:
        """Of the child, and of its pods."""
        return child_labels(self.job, self.uid, self.attempt, self.round, self.step)

    @property
    def keyed(self) -> bool:
        """Whether it holds keys: the identity, and the account at the exchange."""
        return self.step != "Work"

    @property
    def backstop(self) -> dict[str, int]:
        """What ends it in the end, as a Job and a RayJob have it."""
        return {} if self.seconds is None else {"activeDeadlineSeconds": self.seconds}

    @property
    def auxiliary(self) -> bool:
        """Whether it is beside the steps of the stage: it has no use for the private store."""
        return self.step in ("ReadNotice", "Notify")

    @property
    def borrows(self) -> bool:
        """Whether it gets the keys of a session of the private store, in place of the account."""
        private = self.settings.private
        return self.step == "Work" and private.claim is None and private.sessions

    @property
    def image(self) -> str:
        """What its pods run."""
        images = self.settings.images
        return images.operator if self.keyed else self.spec.runtime.image or images.runtime

    @property
    def reaches_hub(self) -> bool:
        """Whether it may get a model from the model hub."""
        return self.settings.model_hub and not self.keyed and self.spec.stage != "Tune"

    def task(self) -> Task:
        """Say what its pod does."""
        jobs = self.jobs if self.step == "Publish" else None
        return Task(
            step=self.step,
            uid=self.uid,
            attempt=self.attempt,
            party=self.settings.party,
            peer_id=self.peer.id,
            public=self.peer.status.pinned if self.keyed else None,
            private=self.settings.private.inside,
            lends=self.step == "Open" and replace(self, step="Work").borrows,
            exchange=self.settings.exchange.uri if self.keyed else None,
            envelope=self.envelope,
            sequence=self.sequence if self.step == "Publish" else None,
            reason=self.reason,
            message=self.message,
            limits=self.settings.bounds.limits,
            jobs=tuple(sorted(jobs)) if jobs else None,
            listed=self.listed if jobs else None,
            checkpoint_seconds=self.settings.checkpoint_seconds,
            job=OffsiteJob(
                apiVersion=API_VERSION,
                kind="OffsiteJob",
                metadata=Metadata(name=self.job),
                spec=self.spec,
            ),
        )


def plan_of(seen: Observed, step: Step, attempt: int, engine: Engine = "Job") -> Plan:
    """Plan an attempt at a step of a job whose peer is there."""
    job = seen.job
    assert job.spec is not None, "there was no objection"
    assert seen.peer is not None, "there was no objection"
    assert seen.mark, "without one no event of its pods would be believed"
    return Plan(
        job=job.name,
        uid=job.uid,
        spec=job.spec,
        settings=seen.settings,
        peer=seen.peer,
        step=step,
        attempt=attempt,
        round=round_of(seen),
        engine=engine,
        mark=seen.mark,
        envelope=job.status.envelope,
        sequence=job.status.sequence,
        jobs=seen.jobs,
        listed=seen.now,
        seconds=_seconds(seen, seen.settings.bounds.deadline_of(job.spec)),
    )


def _seconds(seen: Observed, deadline: int | None) -> int | None:
    """Say what is left to a job, and somewhat more: its end is the operator's, if there is one."""
    if deadline is None:
        return None
    gone = (seen.now - (seen.job.status.start_time or seen.now)).total_seconds()
    return max(0, math.ceil(deadline - gone)) + _AFTER_DEADLINE
