"""The observed state: the complete input of `reconcile`."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from offsite.api import JobSpec
from offsite.resources import JobStatus, OffsiteApproval, PeerStatus, Step
from offsite.sealing import PublicRing
from offsite.sealing.publicfile import read_public
from offsite_operator.observe.step_log import StepReport
from offsite_operator.settings import Settings

Engine = Literal["Job", "RayJob"]


class Phase(StrEnum):
    """The phase of a child."""

    PENDING = "pending"
    QUEUED = "queued"
    """Suspended; another controller (Kueue) decides when it starts."""
    RUNNING = "running"
    FINISHING = "finishing"
    """The process has ended, but the status does not reflect it yet."""
    SUCCEEDED = "succeeded"
    STOPPED = "stopped"
    """A user stopped it."""
    FAILED = "failed"


ENDED = frozenset({Phase.SUCCEEDED, Phase.STOPPED, Phase.FAILED})


@dataclass(frozen=True)
class ChildState:
    """The mapped status of a Job or RayJob."""

    phase: Phase
    reason: str = ""
    message: str = ""
    permanent: bool = False
    """Whether a retry would fail in the same way."""
    ended: datetime | None = None


@dataclass(frozen=True)
class StartupProblem:
    """Why a pod does not start."""

    reason: str
    message: str
    fatal: bool = False
    """Whether waiting cannot help."""


@dataclass(frozen=True)
class Child:
    """One attempt at one step."""

    name: str
    kind: Engine
    uid: str
    step: Step
    attempt: int
    round: int
    """The value of `spec.retries` when it was created."""
    created: datetime
    deleting: bool
    state: ChildState
    report: StepReport | None = None
    """None: the log was not read."""
    startup_problem: StartupProblem | None = None
    deleted: datetime | None = None
    """Time of the deletion request, if known."""

    @property
    def active(self) -> bool:
        """Whether it has not ended and is not being deleted."""
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
    """Why `spec` is None: the CRD and the operator have different versions."""
    status: JobStatus = field(default_factory=JobStatus)
    version: str = ""
    """The resourceVersion."""
    deleting: bool = False
    author: str | None = None
    """User who created it, verified by the API server."""

    def has(self, condition: str) -> bool:
        """Return whether a condition is True."""
        found = (c for c in self.status.conditions if c.type == condition)
        return any(c.status == "True" for c in found)

    @property
    def finished(self) -> bool:
        """Whether the job is Complete or Failed."""
        return self.has("Complete") or self.has("Failed")


@dataclass(frozen=True)
class Peer:
    """An OffsitePeer."""

    alias: str
    id: str
    public: str
    """The public file that the administrator set."""
    generation: int
    status: PeerStatus
    uid: str = ""
    version: str = ""
    vouched: str | None = None
    """Fingerprint of keys that the administrator accepts, whatever was pinned before."""

    @property
    def ready(self) -> bool:
        """Whether its current keys are accepted."""
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
    """The peer has not sent a bundle of that name yet."""

    message: str
    notice: str | None = None
    """Digest of the peer's notice of a failure."""


@dataclass(frozen=True)
class Refused:
    """The peer's bundle may not be opened."""

    message: str
    tombstone: Found | None = None
    """Recorded in the ledger, so that a store that later hides it is detected."""


@dataclass(frozen=True)
class Unreachable:
    """The exchange did not answer."""

    message: str


Incoming = Found | NotYet | Refused | Unreachable


@dataclass(frozen=True)
class Rejection:
    """Why the API server rejected a child."""

    code: int
    """HTTP status; 409: another object has the name."""
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
    """The children that this job owns, by UID."""
    peer: Peer | None = None
    incoming: Incoming | None = None
    """None: not looked up, or not known yet."""
    mark: str = ""
    """Random mark for the events of new pods; see `offsite.events`."""
    rejection: Rejection | None = None
    """The rejection of the child that the last decision requested."""
    jobs: frozenset[str] | None = None
    """UIDs of all OffsiteJobs, as of the last resync; None: no resync yet."""
    approvals: tuple[OffsiteApproval, ...] = ()
    """The verdicts on what this job would send, oldest first."""
    ahead: int = 0
    """Number of jobs ahead in the queue; counted only if running jobs are limited."""


def ring_of(peer: Peer) -> PublicRing:
    """Return the pinned keys of a ready peer.

    Raises:
        InputError: The status of the peer was tampered with.
    """
    return read_public((peer.status.pinned or "").encode(), f"the OffsitePeer {peer.alias}")


def round_of(seen: Observed) -> int:
    """Return the value of `spec.retries` that is in effect."""
    job = seen.job
    fresh = not job.status.conditions and job.spec is not None
    return job.spec.retries if fresh and job.spec is not None else job.status.retries or 0
