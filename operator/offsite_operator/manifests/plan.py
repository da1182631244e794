"""The plan of one child: the input of its manifests."""

import math
from dataclasses import dataclass, replace

from offsite.api import JobSpec, Metadata, OffsiteJob
from offsite.apiversion import API_VERSION
from offsite.resources import Step
from offsite.task import Jobs, Task, new_task
from offsite_operator.labels import child_labels, child_name
from offsite_operator.observe.model import Engine, Observed, Peer, round_of
from offsite_operator.settings import Settings

_AFTER_DEADLINE = 60
"""Extra seconds for the operator to end a job before the cluster does."""


@dataclass(frozen=True)
class ChildPlan:
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
    """The mark of its pods' events."""
    envelope: str | None = None
    sequence: int | None = None
    approved: str | None = None
    """Digest of the only egress report that may be sent."""
    notice: str | None = None
    """Envelope of the notice to read."""
    jobs: Jobs | None = None
    """All jobs of the namespace; None: not listed yet."""
    reason: str | None = None
    """Failure reason to disclose to the peer."""
    message: str = ""
    """Failure message to disclose to the peer."""
    seconds: int | None = None
    """Time limit that holds even without an operator; None: no limit."""

    @property
    def name(self) -> str:
        """The name of the child, and of the ConfigMap with its task."""
        # one child per notice read, and one per round notified
        read = (self.notice or "")[7:15]
        mark = read if self.step == "ReadNotice" else str(self.attempt)
        return child_name(self.job, self.uid, mark, self.step)

    @property
    def labels(self) -> dict[str, str]:
        """The labels of the child and of its pods."""
        return child_labels(self.job, self.uid, self.attempt, self.round, self.step)

    @property
    def keyed(self) -> bool:
        """Whether it holds keys: the identity, and the credentials of the exchange."""
        return self.step != "Work"

    @property
    def backstop(self) -> dict[str, int]:
        """The child's `activeDeadlineSeconds`."""
        return {} if self.seconds is None else {"activeDeadlineSeconds": self.seconds}

    @property
    def auxiliary(self) -> bool:
        """Whether it is an auxiliary step, which does not access the private store."""
        return self.step in ("ReadNotice", "Notify")

    @property
    def borrows(self) -> bool:
        """Whether it gets session credentials of the private store, instead of the account's."""
        private = self.settings.private
        return self.step == "Work" and private.claim is None and private.sessions

    @property
    def image(self) -> str:
        """The image of its pods."""
        images = self.settings.images
        return images.operator if self.keyed else self.spec.runtime.image or images.runtime

    @property
    def reaches_hub(self) -> bool:
        """Whether it may download a model from the model hub."""
        return self.settings.model_hub and not self.keyed and self.spec.stage != "Tune"

    def task(self) -> Task:
        """Build the task of the pod."""
        return new_task(
            step=self.step,
            uid=self.uid,
            party=self.settings.party,
            peer_id=self.peer.id,
            private=self.settings.private.inside,
            limits=self.settings.bounds.limits,
            attempt=max(1, self.attempt),
            log_days=self.settings.log_days,
            job=self._job(),
            **self._of_step(),
            **(self._exchange() if self.keyed else {}),
        )

    def _of_step(self) -> dict[str, object]:
        match self.step:
            case "Open":
                lends = replace(self, step="Work").borrows
                return {"envelope": self.envelope, "lends": lends}
            case "Work":
                seconds = self.settings.checkpoint_seconds
                return {"envelope": self.envelope, "checkpoint_seconds": seconds}
            case "Report":
                return {"envelope": self.envelope}
            case "Publish":
                sent = {"sequence": self.sequence, "jobs": self.jobs, "approved": self.approved}
                return {"envelope": self.envelope, **sent}
            case "Notify":
                why = {"reason": self.reason, "message": self.message}
                return {"round": self.attempt, "answers": self.envelope, **why}
            case "ReadNotice":
                return {"notice": self.notice}

    def _exchange(self) -> dict[str, object]:
        return {"public": self.peer.status.pinned, "exchange": self.settings.exchange.uri}

    def _job(self) -> OffsiteJob:
        return OffsiteJob(
            api_version=API_VERSION,
            kind="OffsiteJob",
            metadata=Metadata(name=self.job),
            spec=self.spec,
        )


def plan_of(
    seen: Observed,
    spec: JobSpec,
    peer: Peer,
    step: Step,
    attempt: int,
    engine: Engine = "Job",
) -> ChildPlan:
    """Plan an attempt at a step of a job whose peer is ready."""
    job = seen.job
    assert seen.mark, "events without the mark are ignored"
    return ChildPlan(
        job=job.name,
        uid=job.uid,
        spec=spec,
        settings=seen.settings,
        peer=peer,
        step=step,
        attempt=attempt,
        round=round_of(seen),
        engine=engine,
        mark=seen.mark,
        envelope=job.status.envelope,
        sequence=job.status.sequence,
        approved=job.status.approval.digest if job.status.approval else None,
        jobs=_jobs(seen),
        seconds=_seconds(seen, seen.settings.bounds.deadline_of(spec)),
    )


def _jobs(seen: Observed) -> Jobs | None:
    return None if seen.jobs is None else Jobs(uids=tuple(sorted(seen.jobs)), listed=seen.now)


def _seconds(seen: Observed, deadline: int | None) -> int | None:
    """Compute the backstop: the time left, plus a margin for the operator to act first."""
    if deadline is None:
        return None
    gone = (seen.now - (seen.job.status.start_time or seen.now)).total_seconds()
    return max(0, math.ceil(deadline - gone)) + _AFTER_DEADLINE
