"""The observed state: everything that `reconcile` depends on, and nothing else."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from offsite.api import JobSpec
from offsite.resources import JobStatus, PeerStatus, Step
from offsite.sealing import PublicRing
from offsite.sealing.publicfile import read_public
from offsite_operator.observe.step_log import StepReport
from offsite_operator.settings import Settings

Engine = Literal["Job", "RayJob"]


class Phase(StrEnum):
    """What a child's status means to us."""

    PENDING = "pending"
    QUEUED = "queued"
    """Somebody else (Kueue) decides when it starts."""
    RUNNING = "running"
    FINISHING = "finishing"
    """What it runs has ended; it has not said so yet."""
    SUCCEEDED = "succeeded"
    STOPPED = "stopped"
    """Somebody stopped it, on purpose."""
    FAILED = "failed"


ENDED = frozenset({Phase.SUCCEEDED, Phase.STOPPED, Phase.FAILED})


@dataclass(frozen=True)
class State:
    """The status of a Job or RayJob, mapped."""

    phase: Phase
    reason: str = ""
    message: str = ""
    permanent: bool = False
    """Whether another attempt would end the same."""
    ended: datetime | None = None


@dataclass(frozen=True)
class StartupProblem:
    """Why a pod does not start, in words."""

    reason: str
    message: str
    fatal: bool = False
    """Whether waiting is in vain."""


@dataclass(frozen=True)
class Child:
    """One attempt at one step."""

    name: str
    kind: Engine
    uid: str
    step: Step
    attempt: int
    round: int
    """The value of `spec.retries` that it belongs to."""
    created: datetime
    deleting: bool
    state: State
    told: StepReport | None = None
    """None: its log was not read."""
    trouble: StartupProblem | None = None
    deleted: datetime | None = None
    """When its deletion was asked for, if that is known."""

    @property
    def active(self) -> bool:
        """Whether it may still do something, and nobody stops it yet."""
        return not self.deleting and self.state.phase not in ENDED


@dataclass(frozen=True)
class Job:
    """An OffsiteJob."""

    name: str
    uid: str
    generation: int
    created: datetime
    spec: JobSpec | None
    problem: str = ""
    """Why there is no spec: the CRD is of another version than the operator."""
    status: JobStatus = field(default_factory=JobStatus)
    version: str = ""
    """The resource's version."""
    deleting: bool = False

    def has(self, condition: str) -> bool:
        """Whether a condition is True."""
        found = (c for c in self.status.conditions if c.type == condition)
        return any(c.status == "True" for c in found)

    @property
    def finished(self) -> bool:
        """Whether it is Complete or Failed."""
        return self.has("Complete") or self.has("Failed")


@dataclass(frozen=True)
class Peer:
    """An OffsitePeer."""

    alias: str
    id: str
    public: str
    """The public file as the administrator gave it."""
    generation: int
    status: PeerStatus
    uid: str = ""
    version: str = ""
    vouched: str | None = None
    """The fingerprint of keys that the administrator vouches for, whatever was pinned before."""

    @property
    def ready(self) -> bool:
        """Whether its keys, as they are given now, were accepted."""
        conditions = self.status.conditions
        sound = any(c.type == "Ready" and c.status == "True" for c in conditions)
        return sound and self.status.pinned == self.public


@dataclass(frozen=True)
class Found:
    """An envelope that may be opened."""

    envelope: str
    bundle: str
    sequence: int
    parent: str | None
    """The envelope that it answers."""


@dataclass(frozen=True)
class NotYet:
    """The peer sent nothing of that name yet."""

    message: str
    notice: str | None = None
    """The digest of its notice that what was to become it failed."""


@dataclass(frozen=True)
class Refused:
    """What the peer sent may not be opened."""

    message: str
    tombstone: Found | None = None
    """To be remembered, so that a store that hides it later is found out."""


@dataclass(frozen=True)
class Unreachable:
    """The exchange does not say."""

    message: str


Incoming = Found | NotYet | Refused | Unreachable


@dataclass(frozen=True)
class Rejection:
    """Why the API server did not take a child."""

    code: int
    """HTTP's; 409: the name is taken by something that is not ours."""
    message: str


@dataclass(frozen=True)
class Observed:
    """One job, and everything that a decision about it depends on."""

    job: Job
    settings: Settings
    now: datetime
    ray: bool
    """Whether the cluster serves RayJobs."""
    children: tuple[Child, ...] = ()
    """Those that this job owns, by their UID."""
    peer: Peer | None = None
    incoming: Incoming | None = None
    """None: nobody asked, or it is not known yet."""
    mark: str = ""
    """A random one, for the events of the pods that are made now; see `offsite.events`."""
    rejection: Rejection | None = None
    """Of the child that the last decision wanted."""
    jobs: frozenset[str] | None = None
    """The UIDs of all OffsiteJobs, as of the last resync; None: there was none yet."""
    ahead: int = 0
    """How many jobs run, or waited longer until fewer do; counted where that is bounded."""


def ring_of(peer: Peer) -> PublicRing:
    """Get the keys that are pinned for a peer that is ready.

    Raises:
        InputError: its status was tampered with.
    """
    return read_public((peer.status.pinned or "").encode(), f"the OffsitePeer {peer.alias}")


def round_of(seen: Observed) -> int:
    """Get the value of `spec.retries` that is heeded now."""
    job = seen.job
    fresh = not job.status.conditions and job.spec is not None
    return job.spec.retries if fresh and job.spec is not None else job.status.retries or 0
