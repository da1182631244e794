"""The resources of a cluster beside the job's spec: a job's status, and the peer with its books.

The CRDs are generated from these and from `offsite.api`. A status is written by the operator alone
and read by others of another version, so unknown fields are passed over; on the wire it is JSON
without nulls: `wire()`.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    computed_field,
)
from pydantic.alias_generators import to_camel

from offsite.api import RULES, Metadata, Name, Section, cel
from offsite.text import printable

ConditionType = Literal["Accepted", "Running", "Suspended", "Complete", "Failed"]
State = Literal["Pending", "Queued", "Running", "Suspended", "Complete", "Failed", "Cancelled"]
StageStep = Literal["Open", "Work", "Publish"]
Step = Literal[StageStep, "Hear", "Tell"]
"""What a pod does: a step of a stage; or an errand beside it, about a stage that failed."""
Engine = Literal["RayJob", "Job"]

_DECIDING: tuple[tuple[ConditionType, str], ...] = (
    *(("Failed", "True"), ("Complete", "True"), ("Accepted", "False"), ("Suspended", "True")),
    *(("Running", "True"), ("Running", "False"), ("Accepted", "True")),
)
"""Which condition people want to hear of first."""

Digest = Annotated[str, Field(max_length=71)]
"""Of an envelope, if nothing else is said."""

Shown = Annotated[str, AfterValidator(printable)]
"""Text that may come from a log, a peer or a store, and is shown wherever a status is."""


class _Told(BaseModel):
    """What the operator tells; in Python, fields go by their own names."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )

    def wire(self) -> dict[str, Any]:
        """Give it as the API server has it: camelCase, times as text, no nulls."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class _Condition(_Told):
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: str = Field(min_length=1, max_length=1024)
    """Why, in one word of CamelCase, for programs."""
    message: Shown = Field("", max_length=32768)
    """Why and what to do, for people."""
    last_transition_time: AwareDatetime
    """When `status` changed last."""
    observed_generation: int | None = Field(None, ge=0)
    """The generation of the resource that it was told of."""


class Condition(_Condition):
    """One thing that is true of a job, or not."""

    type: ConditionType
    """What is true or not; Complete and Failed are as a Job of Kubernetes has them."""


class Progress(_Told):
    """How far the step that runs has come."""

    phase: Shown | None = None
    """What is under way, such as `tune`."""
    step: int | None = Field(None, ge=0)
    """Units of work that are done."""
    total_steps: int | None = Field(None, ge=0)
    """Units of work that there are."""
    percent: float | None = Field(None, ge=0, le=100)
    """Share of them that is done."""
    eta_seconds: float | None = Field(None, ge=0)
    """How long the rest takes at the present rate."""
    loss: float | None = None
    """The newest loss."""
    updated_at: AwareDatetime | None = None
    """When this was told."""


class Metric(_Told):
    """A figure that the stage measured."""

    name: Shown
    """What was measured, such as `perplexity`."""
    setting: Shown
    """Of which model, such as `full_zero_shot` or `plug_in`."""
    value: str | None = None
    """The figure, in decimal notation; absent where no number holds it."""
    text: Shown | None = None
    """The digest of the text that it was measured on: compare figures of the same text alone."""


class Artifact(_Told):
    """What the job made."""

    name: Shown
    """The name of the bundle, or of the job that plugged it in."""
    digest: Shown
    """Of the envelope that was published, or of the plugged-in model."""
    uri: Shown
    """Where it lies."""
    size_bytes: int = Field(ge=0)
    """How large it is."""


class JobStatus(_Told):
    """What has become of a job."""

    conditions: list[Condition] = Field(
        default=[],
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        },
    )
    """What is true of the job now, and why."""
    observed_generation: int | None = Field(None, ge=0)
    """The generation of the resource that the status was told of."""
    state: State | None = None
    """The conditions in one word."""
    step: StageStep | None = None
    """Open checks keys and stores and opens what the peer sent, Work trains, Publish sends."""
    progress: Progress | None = None
    """How far the step that runs has come."""
    metrics: list[Metric] = []
    """The figures that the stage measured."""
    artifact: Artifact | None = None
    """What the job made; absent until it is where it belongs."""
    attempts: int | None = Field(None, ge=0)
    """How many attempts were begun; what a suspension ended counts as none."""
    first_attempt: int | None = Field(None, ge=0)
    """The attempt with which the step began; `spec.backoffLimit` counts from there."""
    retries: int | None = Field(None, ge=0)
    """The `spec.retries` that was heeded."""
    engine: Engine | None = None
    """What runs the work."""
    job_name: str | None = None
    """The Job or RayJob that runs now, or ran last."""
    envelope: Digest | None = None
    """The envelope of the peer that this job may open, once it was verified and recorded."""
    sequence: int | None = Field(None, ge=1)
    """The number of what the job publishes, among all that has its name."""
    start_time: AwareDatetime | None = None
    """When the first attempt began."""
    lost_time: AwareDatetime | None = None
    """When `jobName` was found to be gone; the next attempt waits from then on."""
    completion_time: AwareDatetime | None = None
    """When the job ended, well or not."""

    @computed_field(description="The reason of the condition that decides the state.")
    def reason(self) -> str | None:
        """The reason of the condition that decides the state."""
        found = {(each.type, each.status): each.reason for each in self.conditions}
        return next((found[key] for key in _DECIDING if key in found), None)


class PeerSpec(Section):
    """Who the other organization is."""

    id: Name = Field(
        json_schema_extra={
            RULES: [cel("self == oldSelf", "id cannot be changed; make another OffsitePeer")]
        }
    )
    """The id that the organization chose, as it stands in everything that it signs."""
    public: str = Field(min_length=1, max_length=131_072)
    """The organization's public file, word for word, as its `offsite keys export` wrote it."""


class PeerCondition(_Condition):
    """One thing that is true of a peer, or not."""

    type: Literal["Ready"]
    """Ready: its public file is valid, and jobs can be done with it."""


class Accepted(_Told):
    """An envelope of the peer that was verified and accepted."""

    bundle: str
    """The name of what it carries."""
    sequence: int = Field(ge=1)
    """Its number among all of that name; no lower one is accepted any more."""
    envelope: Digest
    """Its digest."""
    parent: Digest | None = None
    """The envelope that it answers: of an adapter, the emulator's."""


class Allotted(_Told):
    """A number that was given to a job which publishes to the peer."""

    bundle: str
    """The name of what it publishes."""
    job: str
    """The job's uid."""
    sequence: int = Field(ge=1)
    """The number among all of that name."""


class PeerStatus(_Told):
    """What is known of a peer, and the books on what went to and fro."""

    conditions: list[PeerCondition] = Field(
        default=[],
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        },
    )
    """Whether jobs can be done with the peer, and why not."""
    fingerprint: str | None = None
    """Of the keys that are pinned: compare it with the other organization, on another way."""
    pinned: str | None = Field(None, max_length=131_072)
    """The public file that was accepted last: the next one must be signed by a key of it."""
    accepted: list[Accepted] = []
    """The envelopes that were accepted; one that is here is accepted again, for the same job."""
    allotted: list[Allotted] = []
    """The numbers that were given to jobs."""


class ResourceMetadata(Metadata):
    """Of an object's metadata, as the API server gives it, what is of use here."""

    model_config = ConfigDict(extra="ignore")

    uid: str | None = None
    resource_version: str | None = None
    generation: int | None = None


class OffsitePeer(_Told):
    """The other organization: its id and public keys, and the books on what went to and fro."""

    api_version: Literal["offsite-tuning.dev/v1alpha1"] = "offsite-tuning.dev/v1alpha1"
    kind: Literal["OffsitePeer"] = "OffsitePeer"
    metadata: ResourceMetadata
    spec: PeerSpec
    status: PeerStatus = PeerStatus()

    @classmethod
    def read(cls, content: object) -> Self:
        """Read what the API server gave."""
        return cls.model_validate(content)
