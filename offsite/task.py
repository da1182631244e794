"""The task of one pod: the operator writes it, `python -m offsite run` reads it.

A stage on a cluster has three steps, and two of them hold keys: `Open` checks what can be known
before the work, and fetches, verifies and decrypts what the peer sent; `Work` trains; `Publish`
seals, signs and sends. They pass files on through the party's private store. Two auxiliary steps
hold keys and do not reach that store: `Notify` sends the peer a notice that the stage failed, and
`ReadNotice` opens such a notice of the peer.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError, model_validator

from offsite.api import Limits, Name, OffsiteJob
from offsite.api.problems import reason
from offsite.errors import InputError
from offsite.wire import Digest, Part

WORK, KEPT = "work", "kept"
"""Folders of the private store, each with one folder for each job, by its UID. The step that trains
sees the job's folder in the first one; only steps with keys see the second."""
PRIVATE_PATTERN = r"^(file:///.+|s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/.+)$"


class BaseTask(Part):
    """What every step of a job needs."""

    uid: str = Field(pattern=r"^[A-Za-z0-9-]{1,64}$")
    """Of the OffsiteJob. It names what steps pass on, and what is sent."""
    party: Name
    """The id of the party whose job this is."""
    peer_id: Name
    """The id of the party that `job.spec.peer` is an alias of."""
    private: str = Field(pattern=PRIVATE_PATTERN)
    """The party's private store: `s3://bucket/prefix`, or the folder of a mounted claim."""
    limits: Limits = Limits()
    """The limits of the party, whatever the job asks for."""
    job: OffsiteJob


class KeyedTask(BaseTask):
    """A step that holds keys and reaches the exchange."""

    public: str
    """The public file of the peer, as text."""
    exchange: str
    """`s3://bucket`, or a folder."""


class _Stage(BaseTask):
    """A step of a stage."""

    envelope: Digest | None = None
    """The one envelope that may be opened; None: the stage opens none."""

    @model_validator(mode="after")
    def _opens_what_its_stage_needs(self) -> "_Stage":
        if self.envelope is None and self.job.spec.bundle is not None:
            raise ValueError(f"a step of {self.job.spec.stage} needs envelope")
        return self


class OpenTask(_Stage, KeyedTask):
    """Check what can be known before the work, and open what the peer sent."""

    step: Literal["Open"] = "Open"
    lends: bool = False
    """Whether `Work` gets session keys of the private store, and not the keys of its account."""


class WorkTask(_Stage):
    """Make the result of the stage."""

    step: Literal["Work"] = "Work"
    checkpoint_seconds: float = Field(60.0, ge=0)


class Jobs(Part):
    """The jobs of a namespace. What other jobs left in the private store is deleted."""

    uids: tuple[str, ...]
    listed: AwareDatetime
    """When they were listed. The pod may start much later."""


class PublishTask(_Stage, KeyedTask):
    """Send the result to the peer, or export the plugged-in model."""

    step: Literal["Publish"] = "Publish"
    sequence: int | None = Field(None, ge=1)
    """The sequence number of the bundle that is sent; None: the stage sends none."""
    jobs: Jobs | None = None

    @model_validator(mode="after")
    def _has_a_sequence_to_send_in(self) -> "PublishTask":
        if self.sequence is None and self.job.spec.plug_in is None:
            raise ValueError(f"step Publish of {self.job.spec.stage} needs sequence")
        return self


class NotifyTask(KeyedTask):
    """Notify the peer that the stage failed."""

    step: Literal["Notify"] = "Notify"
    round: int = Field(ge=1)
    """1, and one more for each retry (`spec.retries`) of the job."""
    reason: str
    """Why the stage failed, in one word."""
    message: str = ""
    """What else the peer is told."""
    answers: Digest | None = None
    """The envelope that the job opened."""


class ReadNoticeTask(KeyedTask):
    """Open a notice of the peer."""

    step: Literal["ReadNotice"] = "ReadNotice"
    notice: Digest
    """The envelope of the notice that the operator found."""


Task = Annotated[
    OpenTask | WorkTask | PublishTask | NotifyTask | ReadNoticeTask, Field(discriminator="step")
]
"""One attempt at one step of one job."""
_TASK: TypeAdapter[Task] = TypeAdapter(Task)


def new_task(**fields: object) -> Task:
    """Make the task of a step; raises `pydantic.ValidationError` if it lacks a field."""
    return _TASK.validate_python(fields)


def write_task(task: Task) -> str:
    """Write a task as it is mounted into a pod."""
    return _TASK.dump_json(task, by_alias=True, exclude_none=True).decode()


def parse_task(content: str | bytes) -> Task:
    """Read a task; raises `pydantic.ValidationError` if it is none."""
    return _TASK.validate_json(content)


def read_task(path: Path) -> Task:
    """Read the task of this pod.

    Raises:
        InputError: it is not there, or an operator of another version wrote it.
    """
    try:
        return parse_task(path.read_bytes())
    except OSError as error:
        raise InputError(f"the task {path} cannot be read: {error}") from error
    except ValidationError as error:
        raise InputError(
            f"{path} is no task of this version of offsite; the operator's image and the "
            f"runtime's must be of one version: {reason(error)}"
        ) from error
