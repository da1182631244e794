"""Kubernetes resources besides the job's spec: a job's status, and the OffsitePeer.

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
from offsite.apiversion import API_VERSION, ApiVersion
from offsite.text import printable

ConditionType = Literal["Accepted", "Running", "Suspended", "Complete", "Failed"]
State = Literal["Pending", "Queued", "Running", "Suspended", "Complete", "Failed", "Cancelled"]
StageStep = Literal["Open", "Work", "Publish"]
Step = Literal[StageStep, "ReadNotice", "Notify"]
"""What a pod does: a step of a stage, or an auxiliary step about a stage that failed."""
Engine = Literal["RayJob", "Job"]

_DECIDING: tuple[tuple[ConditionType, str], ...] = (
    *(("Failed", "True"), ("Complete", "True"), ("Accepted", "False"), ("Suspended", "True")),
    *(("Running", "True"), ("Running", "False"), ("Accepted", "True")),
)
"""Conditions in the order in which they decide the state."""

Digest = Annotated[str, Field(max_length=71)]
"""Of an envelope, unless noted otherwise."""

Shown = Annotated[str, AfterValidator(printable)]
"""Text that may come from a log, a peer or a store, and is shown wherever a status is."""


class _Told(BaseModel):
    """Written by the operator. Python code uses the fields' Python names."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )

    def wire(self) -> dict[str, Any]:
        """Convert to JSON as the API server holds it: camelCase, times as text, no nulls."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class _Condition(_Told):
    status: Literal["True", "False", "Unknown"]
    """Whether the condition holds."""
    reason: str = Field(min_length=1, max_length=1024)
    """The reason, one CamelCase word for programs."""
    message: Shown = Field("", max_length=32768)
    """The reason and the remedy, for people."""
    last_transition_time: AwareDatetime
    """When `status` last changed."""
    observed_generation: int | None = Field(None, ge=0)
    """The generation of the resource that the condition describes."""


class Condition(_Condition):
    """One condition of a job."""

    type: ConditionType
    """Type of the condition. Complete and Failed are those of a Kubernetes Job."""


class Progress(_Told):
    """Progress of the running step."""

    phase: Shown | None = None
    """The current phase, such as `tune`."""
    step: int | None = Field(None, ge=0)
    """Steps completed in this phase."""
    total_steps: int | None = Field(None, ge=0)
    """All steps of this phase."""
    percent: float | None = Field(None, ge=0, le=100)
    """Completed share of this phase, from 0 to 100."""
    eta_seconds: float | None = Field(None, ge=0)
    """Estimated seconds until the phase ends."""
    loss: float | None = None
    """The latest training loss."""
    updated_at: AwareDatetime | None = None
    """Time of the last update."""


class Metric(_Told):
    """A metric that the stage measured."""

    name: Shown
    """Name of the metric, such as `perplexity`."""
    setting: Shown
    """Which model was measured, such as `full_zero_shot` or `plug_in`."""
    value: str | None = None
    """The value in decimal notation; absent if it is not finite."""
    text: Shown | None = None
    """Digest of the text that was used. Only values of the same text are comparable."""


class Artifact(_Told):
    """What the job produced."""

    name: Shown
    """Name of the bundle, or of the job that made the plugged-in model."""
    digest: Shown
    """Digest of the published envelope, or of the plugged-in model."""
    uri: Shown
    """Where it is stored."""
    size_bytes: int = Field(ge=0)
    """Size in bytes."""


class JobStatus(_Told):
    """Status of an OffsiteJob."""

    conditions: list[Condition] = Field(
        default=[],
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        },
    )
    """Current conditions of the job."""
    observed_generation: int | None = Field(None, ge=0)
    """The generation of the resource that this status describes."""
    state: State | None = None
    """Summary of the conditions in one word."""
    step: StageStep | None = None
    """Current step. Open checks stores and opens the bundle, Work trains, Publish sends."""
    progress: Progress | None = None
    """Progress of the running step."""
    metrics: list[Metric] = []
    """Metrics that the stage measured."""
    artifact: Artifact | None = None
    """What the job produced; absent until it is published or exported."""
    attempts: int | None = Field(None, ge=0)
    """Number of attempts started. One that a suspension ended does not count."""
    first_attempt: int | None = Field(None, ge=0)
    """First attempt of the current step; `spec.backoffLimit` counts from it."""
    retries: int | None = Field(None, ge=0)
    """The value of `spec.retries` that was acted on."""
    engine: Engine | None = None
    """The kind of object that runs the Work step."""
    job_name: str | None = None
    """Name of the current or last Job or RayJob."""
    envelope: Digest | None = None
    """Digest of the peer's envelope that this job opens, once it is verified and recorded."""
    sequence: int | None = Field(None, ge=1)
    """Sequence number of what the job publishes under its name."""
    start_time: AwareDatetime | None = None
    """When the first attempt started."""
    lost_time: AwareDatetime | None = None
    """When `jobName` was found to be deleted; the next attempt's back-off starts here."""
    completion_time: AwareDatetime | None = None
    """When the job finished, successfully or not."""

    @computed_field(description="The reason of the condition that decides the state.")
    def reason(self) -> str | None:
        """The reason of the condition that decides the state."""
        found = {(each.type, each.status): each.reason for each in self.conditions}
        return next((found[key] for key in _DECIDING if key in found), None)


class PeerSpec(Section):
    """Spec of an OffsitePeer."""

    id: Name = Field(
        json_schema_extra={
            RULES: [cel("self == oldSelf", "id cannot be changed; make another OffsitePeer")]
        }
    )
    """The id of the organization, which is in everything that it signs. Immutable."""
    public: str = Field(min_length=1, max_length=131_072)
    """The public file of the organization, unchanged, as `offsite keys export` writes it."""


class PeerCondition(_Condition):
    """One condition of a peer."""

    type: Literal["Ready"]
    """Type of the condition. Ready: the public file is valid and pinned; jobs can use the peer."""


class Accepted(_Told):
    """An envelope of the peer that was verified and accepted."""

    bundle: str
    """Name of the bundle."""
    sequence: int = Field(ge=1)
    """Its sequence number. Lower ones are no longer accepted."""
    envelope: Digest
    """Digest of the envelope."""
    parent: Digest | None = None
    """Digest of the envelope that it answers: for an adapter, the emulator's."""


class Allotted(_Told):
    """A sequence number that was allotted to a job which publishes to the peer."""

    bundle: str
    """Name of the bundle."""
    job: str
    """UID of the job."""
    sequence: int = Field(ge=1)
    """The sequence number."""


class PeerStatus(_Told):
    """Status of an OffsitePeer, with the ledger of what was received and sent."""

    conditions: list[PeerCondition] = Field(
        default=[],
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        },
    )
    """Current conditions of the peer."""
    fingerprint: str | None = None
    """Fingerprint of the pinned keys. Compare it with the organization over another channel."""
    pinned: str | None = Field(None, max_length=131_072)
    """The public file that is pinned. The next one must be signed by its newest sign key."""
    accepted: list[Accepted] = []
    """Envelopes that were accepted. A retry of the same job may accept one again."""
    allotted: list[Allotted] = []
    """Sequence numbers that were allotted to jobs."""


class ResourceMetadata(Metadata):
    """The metadata fields of a resource that offsite uses."""

    model_config = ConfigDict(extra="ignore")

    uid: str | None = None
    resource_version: str | None = None
    generation: int | None = None


class OffsitePeer(_Told):
    """Another organization: its id, its public keys, and the ledger of what was exchanged."""

    api_version: ApiVersion = API_VERSION
    kind: Literal["OffsitePeer"] = "OffsitePeer"
    metadata: ResourceMetadata
    spec: PeerSpec
    status: PeerStatus = PeerStatus()

    @classmethod
    def read(cls, content: object) -> Self:
        """Read an object of the API server."""
        return cls.model_validate(content)
