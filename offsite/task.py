"""The task of one pod: the operator writes it, `python -m offsite run` reads it.

A stage on a cluster has three steps, and only two of them hold keys: `Open` checks what can be
known before the work, and fetches, verifies and decrypts what the peer sent; `Work` trains;
`Publish` seals, signs and sends. They hand things on
through the party's private store. Two errands hold keys, too, and do not reach that store: `Notify`
tells the peer that the stage failed, `ReadNotice` opens what the peer told so.
"""

from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from offsite.api import Limits, Name, OffsiteJob
from offsite.api.problems import reason
from offsite.errors import InputError
from offsite.resources import Digest, Step

WORK, KEPT = "work", "kept"
"""Folders of the private store, each with one for each job by its UID: what the step that trains
sees of it, and what only steps with keys do."""
PRIVATE_PATTERN = r"^(file:///.+|s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/.+)$"


class Task(BaseModel):
    """One attempt at one step of one job."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        strict=True,
    )

    step: Step
    uid: str = Field(pattern=r"^[A-Za-z0-9-]{1,64}$")
    """Of the OffsiteJob: what is handed on, and what is sent, is known by it."""
    attempt: int = Field(ge=1)
    """At the step; of `Notify`, the round of the job: `spec.retries` starts a new one."""
    party: Name
    """The id of the party whose job this is."""
    peer_id: Name
    """The id of the party that `job.spec.peer` is an alias of."""
    public: str | None = None
    """The peer's public file, as text; of the steps that hold keys."""
    private: str = Field(pattern=PRIVATE_PATTERN)
    """Where the party keeps its own: `s3://bucket/prefix`, or the folder of a mounted claim."""
    lends: bool = False
    """Whether the step that trains gets a session of the private store, and not its account."""
    exchange: str | None = None
    """`s3://bucket`; of the steps that hold keys."""
    envelope: Digest | None = None
    """The one envelope that may be opened, and is answered; of `ReadNotice`, the notice's."""
    sequence: int | None = Field(None, ge=1)
    """Under which the result is sent."""
    reason: str | None = None
    """Why the stage failed; of `Notify`."""
    message: str = ""
    """What else the peer is told about it."""
    limits: Limits = Limits()
    """What the party allows, whatever the job asks for."""
    checkpoint_seconds: float = Field(60.0, ge=0)
    jobs: tuple[str, ...] | None = None
    """The UIDs of the jobs that there were; what others left in the private store is deleted."""
    listed: AwareDatetime | None = None
    """When they were there: the pod may start much later."""
    job: OffsiteJob

    @model_validator(mode="after")
    def _step_has_what_it_needs(self) -> "Task":
        spec = self.job.spec
        needed: dict[str, object] = {}
        if self.step != "Work":
            needed |= {"public": self.public, "exchange": self.exchange}
        # a stage whose bundle was refused has none, and tells so
        if self.step == "ReadNotice" or (spec.distill is None and self.step != "Notify"):
            needed["envelope"] = self.envelope
        if self.step == "Notify":
            needed["reason"] = self.reason
        if self.step == "Publish" and spec.plug_in is None:
            needed["sequence"] = self.sequence
        if self.jobs is not None:
            needed["listed"] = self.listed
        if missing := [name for name, value in needed.items() if value is None]:
            raise ValueError(f"step {self.step} of {spec.stage} needs {', '.join(missing)}")
        return self

    def wire(self) -> str:
        """Write it as it is mounted into a pod."""
        return self.model_dump_json(by_alias=True, exclude_none=True)


def read_task(path: Path) -> Task:
    """Read the task of this pod.

    Raises:
        InputError: it is not there, or an operator of another version wrote it.
    """
    try:
        return Task.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"the task {path} cannot be read: {error}") from error
    except ValidationError as error:
        raise InputError(
            f"{path} is no task of this version of offsite; the operator's image and the "
            f"runtime's must be of one version: {reason(error)}"
        ) from error
