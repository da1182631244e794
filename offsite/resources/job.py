"""The status of an OffsiteJob."""

from typing import Literal

from pydantic import AwareDatetime, Field, computed_field

from offsite.resources.approval import Approval
from offsite.resources.egress import EgressReport
from offsite.resources.written import BaseCondition, Digest, Shown, Written

ConditionType = Literal[
    "Accepted", "MemorySufficient", "Running", "Suspended", "Complete", "Failed"
]
JobState = Literal[
    "Pending",
    "Queued",
    "Running",
    "AwaitingApproval",
    "Suspended",
    "Complete",
    "Failed",
    "Cancelled",
]
StageStep = Literal["Open", "Work", "Report", "Publish"]
Step = Literal[StageStep, "ReadNotice", "Notify"]
"""What a pod does: a step of a stage, or an auxiliary step about a stage that failed."""
Engine = Literal["RayJob", "Job"]

_DECIDING: tuple[tuple[ConditionType, str], ...] = (
    *(("Failed", "True"), ("Complete", "True"), ("Accepted", "False"), ("Suspended", "True")),
    *(("Running", "True"), ("Running", "False"), ("Accepted", "True")),
)
"""Conditions in the order in which they decide the state."""


class Condition(BaseCondition):
    """One condition of a job."""

    type: ConditionType
    """Type of the condition. Complete and Failed are those of a Kubernetes Job. MemorySufficient
    says whether the memory that the job requests suffices for its training pods, by an estimate."""


class ProgressStatus(Written):
    """Progress of the running step."""

    phase: Shown | None = None
    """The current phase, such as `tune`."""
    step: int | None = Field(None, ge=0)
    """Steps completed in this phase."""
    total_steps: int | None = Field(None, ge=0)
    """Total number of steps in this phase."""
    percent: float | None = Field(None, ge=0, le=100)
    """Completed share of this phase, from 0 to 100."""
    eta_seconds: float | None = Field(None, ge=0)
    """Estimated seconds until the phase ends."""
    loss: float | None = None
    """The latest training loss."""
    updated_at: AwareDatetime | None = None
    """Time of the last update."""


class MetricStatus(Written):
    """A metric that the stage measured."""

    name: Shown
    """Name of the metric, such as `perplexity`."""
    setting: Shown
    """Which model was measured, such as `full_zero_shot` or `plug_in`."""
    value: str | None = None
    """The value in decimal notation; absent if it is not finite."""
    interval: list[Shown] | None = Field(None, min_length=2, max_length=2)
    """The 95 % confidence interval of the value, in decimal notation; absent if it has none."""
    over: Shown | None = None
    """The setting that `gain` compares with, on the same examples."""
    gain: Shown | None = None
    """Of a perplexity the reduction of its logarithm, in nats per token; of an accuracy the
    difference. In decimal notation; more is better."""
    gain_interval: list[Shown] | None = Field(None, min_length=2, max_length=2)
    """The paired 95 % confidence interval of the gain, in decimal notation."""
    text: Shown | None = None
    """Digest of the data that was used. Only values of the same data are comparable."""


class PrivacyStatus(Written):
    """Differential privacy of the adapter that the job published, as its manifest states it."""

    epsilon: float = Field(gt=0)
    """Bound ε of the adapter."""
    delta: float = Field(gt=0, lt=1)
    """Bound δ of the adapter."""
    unit: Shown
    """The unit that ε and δ protect: `row`, or `group:` and a column of the data."""
    sampling_rate: float = Field(gt=0, le=1)
    """Probability that a unit is in a batch."""
    steps: int = Field(ge=1)
    """Number of training steps."""
    noise_multiplier: float = Field(gt=0)
    """Standard deviation of the noise, divided by the clipping norm."""


class ArtifactStatus(Written):
    """What the job produced."""

    name: Shown
    """Name of the bundle, or of the job that made the plugged-in model."""
    digest: Shown
    """Digest of the published envelope, or of the plugged-in model."""
    uri: Shown
    """Where it is stored."""
    size_bytes: int = Field(ge=0)
    """Size in bytes."""


class JobStatus(Written):
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
    state: JobState | None = None
    """Summary of the conditions in one word."""
    step: StageStep | None = None
    """Current step: Open checks, Work trains, Report asks for an approval, Publish sends."""
    progress: ProgressStatus | None = None
    """Progress of the running step."""
    metrics: list[MetricStatus] = Field([])
    """Metrics that the stage measured."""
    privacy: PrivacyStatus | None = None
    """Differential privacy of the adapter; absent if it has none, or is not published yet."""
    artifact: ArtifactStatus | None = None
    """What the job produced; absent until it is published or exported."""
    egress: EgressReport | None = None
    """What the job is about to send to its peer, or sent."""
    approval: Approval | None = None
    """Who approved what the job sends, if the organization requires an approval."""
    attempts: int | None = Field(None, ge=0)
    """Number of attempts that started. An attempt that was suspended does not count."""
    first_attempt: int | None = Field(None, ge=0)
    """First attempt of the current step; `spec.backoffLimit` counts from it."""
    retries: int | None = Field(None, ge=0)
    """The last value of `spec.retries` that the operator processed."""
    engine: Engine | None = None
    """The kind of object that runs the Work step."""
    job_name: str | None = None
    """Name of the current or last Job or RayJob."""
    envelope: Digest | None = None
    """Digest of the peer's envelope that this job opens; absent until it is verified."""
    sequence: int | None = Field(None, ge=1)
    """Sequence number of the bundle that the job publishes: its version under this name."""
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
