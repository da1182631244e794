"""The task of one pod: the operator writes it, `python -m offsite run` reads it.

A stage on a cluster has three steps, of which two hold keys: `Open` checks the job before the work,
and fetches, verifies and decrypts the peer's bundle; `Work` trains; `Publish` seals, signs and
sends. If another person has to approve what is sent, `Report` runs before `Publish`, holds keys,
too, and reports what would be sent. They pass files on through the party's private store. Two
auxiliary steps also hold keys, and do not access that store: `Notify` sends the peer a notice of a
failed stage, and `ReadNotice` opens such a notice.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError, model_validator

from offsite.api import Limits, Name, OffsiteJob
from offsite.api.problems import reason
from offsite.errors import InputError
from offsite.wire import Digest, Part

WORK, KEPT = "work", "kept"
"""Folders of the private store with one folder per job, by its UID. The training step sees the
job's folder in the first; only steps with keys see the second.
"""
PRIVATE_PATTERN = r"^(file:///.+|s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/.+)$"


class BaseTask(Part):
    """The fields that every step needs."""

    uid: str = Field(pattern=r"^[A-Za-z0-9-]{1,64}$")
    """UID of the OffsiteJob. It names the files between steps, and identifies what is sent."""
    party: Name
    """Id of the job's party."""
    peer_id: Name
    """Id of the party behind the alias `job.spec.peer`."""
    private: str = Field(pattern=PRIVATE_PATTERN)
    """The party's private store: `s3://bucket/prefix`, or the folder of a mounted claim."""
    limits: Limits = Limits()
    """Limits of the party, which apply to every job."""
    attempt: int = Field(1, ge=1)
    """Number of the attempt that the pod belongs to."""
    log_days: int = Field(30, ge=0)
    """How long logs are kept after their job is deleted, in days; 0: no logs are kept."""
    job: OffsiteJob


class KeyedTask(BaseTask):
    """A step that holds keys and accesses the exchange."""

    public: str
    """Content of the peer's public file."""
    exchange: str
    """`s3://bucket`, or a folder."""


class _Stage(BaseTask):
    """A step of a stage."""

    envelope: Digest | None = None
    """The only envelope that may be opened; None: the stage opens none."""

    @model_validator(mode="after")
    def _opens_what_its_stage_needs(self) -> "_Stage":
        if self.envelope is None and self.job.spec.bundle is not None:
            raise ValueError(f"a step of {self.job.spec.stage} needs envelope")
        return self


class OpenTask(_Stage, KeyedTask):
    """Check the job before the work, and open the peer's bundle."""

    step: Literal["Open"] = "Open"
    lends: bool = False
    """Whether `Work` gets session credentials of the private store instead of its account's."""


class WorkTask(_Stage):
    """Make the result of the stage."""

    step: Literal["Work"] = "Work"
    checkpoint_seconds: float = Field(60.0, ge=0)


class ReportTask(_Stage, KeyedTask):
    """Check the result, and report what would be sent to the peer."""

    step: Literal["Report"] = "Report"


class Jobs(Part):
    """The jobs of a namespace. Files that deleted jobs left in the private store are deleted."""

    uids: tuple[str, ...]
    listed: AwareDatetime
    """Time of the listing. The pod may start much later."""


class PublishTask(_Stage, KeyedTask):
    """Send the result to the peer, or export the plugged-in model."""

    step: Literal["Publish"] = "Publish"
    sequence: int | None = Field(None, ge=1)
    """Sequence number of the bundle to send; None: the stage sends none."""
    jobs: Jobs | None = None
    approved: Digest | None = None
    """The only egress report that may be sent, if `limits` require an approval."""

    @model_validator(mode="after")
    def _has_a_sequence_to_send_in(self) -> "PublishTask":
        if self.sequence is None and self.job.spec.plug_in is None:
            raise ValueError(f"step Publish of {self.job.spec.stage} needs sequence")
        return self


class NotifyTask(KeyedTask):
    """Notify the peer that the stage failed."""

    step: Literal["Notify"] = "Notify"
    round: int = Field(ge=1)
    """1, plus one for each retry (`spec.retries`) of the job."""
    reason: str
    """Why the stage failed, in one word."""
    message: str = ""
    """Further text for the peer."""
    answers: Digest | None = None
    """The envelope that the job opened."""


class ReadNoticeTask(KeyedTask):
    """Open a notice of the peer."""

    step: Literal["ReadNotice"] = "ReadNotice"
    notice: Digest
    """Envelope of the notice that the operator found."""


Task = Annotated[
    OpenTask | WorkTask | ReportTask | PublishTask | NotifyTask | ReadNoticeTask,
    Field(discriminator="step"),
]
"""One attempt at one step of one job."""
_TASK: TypeAdapter[Task] = TypeAdapter(Task)


def new_task(**fields: object) -> Task:
    """Build the task of a step; raises `pydantic.ValidationError` if a field is missing."""
    return _TASK.validate_python(fields)


def write_task(task: Task) -> str:
    """Serialize a task for the pod's mount."""
    return _TASK.dump_json(task, by_alias=True, exclude_none=True).decode()


def parse_task(content: str | bytes) -> Task:
    """Parse a task; raises `pydantic.ValidationError` if it is not valid."""
    return _TASK.validate_json(content)


def read_task(path: Path) -> Task:
    """Read the task of this pod.

    Raises:
        InputError: The file is missing, or an operator of another version wrote it.
    """
    try:
        return parse_task(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read the task {path}: {error}") from error
    except ValidationError as error:
        raise InputError(
            f"{path} is not a task of this version of offsite; the operator's image and the "
            f"runtime's must have the same version: {reason(error)}"
        ) from error
