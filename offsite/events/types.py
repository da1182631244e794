"""The types of events. Writers and readers use the same types.

They are plain data classes. Only readers import pydantic, which is slow to import.
"""

import dataclasses
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

if TYPE_CHECKING:
    from pydantic import TypeAdapter


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(other.title() for other in others)


@dataclass(frozen=True, kw_only=True)
class _Event:
    # other versions may write more fields
    __pydantic_config__ = {  # noqa: RUF012, V107
        "alias_generator": _camel,
        "allow_inf_nan": False,
        "extra": "ignore",
        "strict": True,
    }

    def wire(self) -> dict[str, Any]:
        """Convert to JSON; a field that may be missing is left out while it is None."""
        return {
            _camel(field.name): value
            for field in dataclasses.fields(self)
            if (value := getattr(self, field.name)) is not None or field.default is not None
        }


@dataclass(frozen=True, kw_only=True)
class Started(_Event):
    """What the stage works on; it comes before any other event of the work."""

    event: Literal["started"] = "started"
    fingerprint: str
    """Digest of everything that affects the result: attempts with the same one continue it."""
    inputs: dict[str, str]
    """Digest of each input by name; `bundle`: of the peer's envelope."""


@dataclass(frozen=True, kw_only=True)
class Progress(_Event):
    """How far a phase of the stage has come."""

    event: Literal["progress"] = "progress"
    phase: str | None = None
    step: int | None = None
    """Steps completed."""
    total_steps: int | None = None
    percent: float | None = None
    eta_seconds: float | None = None
    loss: float | None = None
    """The latest training loss."""
    tokens_per_second: float | None = None
    images_per_second: float | None = None


@dataclass(frozen=True, kw_only=True)
class Metric(_Event):
    """A measured figure."""

    event: Literal["metric"] = "metric"
    name: str
    """What was measured, such as `perplexity`."""
    setting: str
    """Which model was measured, such as `plug_in`."""
    value: float | None
    """None: it is infinite, or not a number."""
    text: str | None = None
    """Digest of the data that was used. Only figures of the same data are comparable."""
    interval: tuple[float, float] | None = None
    """The 95 % confidence interval over the examples."""
    over: str | None = None
    """The setting that `gain` compares with, on the same examples."""
    gain: float | None = None
    """Of a perplexity the reduction of its logarithm, in nats per token; of an accuracy the
    difference. More is better."""
    gain_interval: tuple[float, float] | None = None
    """The paired 95 % confidence interval of `gain`."""


@dataclass(frozen=True, kw_only=True)
class Rates(_Event):
    """How well an attack tells members of the training data from others, at every threshold."""

    event: Literal["rates"] = "rates"
    setting: str
    """What was attacked: `membership` or `canary`."""
    points: tuple[tuple[float, float], ...]
    """False and true positive rates (the ROC curve), ascending."""


@dataclass(frozen=True, kw_only=True)
class PrivacyReport(_Event):
    """The differential privacy of the adapter, as its sealed manifest states it."""

    event: Literal["privacy"] = "privacy"
    epsilon: float
    delta: float
    unit: str
    """What is protected as a whole: `row`, or `group:` and a column."""
    sampling_rate: float
    """Probability of a unit to be in a batch."""
    steps: int
    noise_multiplier: float


@dataclass(frozen=True, kw_only=True)
class Log(_Event):
    """A message that is no failure."""

    event: Literal["log"] = "log"
    message: str


@dataclass(frozen=True, kw_only=True)
class NoticeRead(_Event):
    """What the peer reports of a stage of its own that failed."""

    event: Literal["notice"] = "notice"
    stage: str | None = None
    reason: str | None = None
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class Artifact(_Event):
    """What the stage published."""

    event: Literal["artifact"] = "artifact"
    name: str
    digest: str
    """Of the envelope, or of the plugged-in model."""
    uri: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class Egress(_Event):
    """What the stage is about to send to its peer."""

    event: Literal["egress"] = "egress"
    report: dict[str, Any]
    """An `offsite.resources.EgressReport` in JSON, with its digest."""


@dataclass(frozen=True, kw_only=True)
class Record(_Event):
    """The record of the run that published, on a cluster."""

    event: Literal["record"] = "record"
    run: dict[str, Any]
    """An `offsite.runs.Run` in JSON."""


@dataclass(frozen=True, kw_only=True)
class Check(_Event):
    """The result of a check of a store (`offsite doctor --deep`)."""

    event: Literal["check"] = "check"
    store: Literal["exchange", "private"]
    verdict: Literal["ok", "fail"]
    message: str


@dataclass(frozen=True, kw_only=True)
class Estimate(_Event):
    """The memory that the work will need, as far as it can be computed before the work."""

    event: Literal["estimate"] = "estimate"
    memory_bytes: int
    """Of one worker."""
    message: str
    """What is needed, what there is, and which change of the job makes it fit."""


@dataclass(frozen=True, kw_only=True)
class Failed(_Event):
    """The stage ended without a result."""

    event: Literal["failed"] = "failed"
    reason: str
    """The class of the error."""
    retryable: bool = False
    """Whether the same job may succeed when it is run again."""
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class Done(_Event):
    """The stage ended with a result."""

    event: Literal["done"] = "done"
    peak_memory_bytes: int | None = None


Event = (
    Started
    | Progress
    | Metric
    | Rates
    | PrivacyReport
    | Log
    | NoticeRead
    | Egress
    | Artifact
    | Record
    | Check
    | Estimate
    | Failed
    | Done
)


@lru_cache(maxsize=1)
def _adapter() -> "TypeAdapter[Event]":
    from pydantic import Field, TypeAdapter

    return TypeAdapter(Annotated[Event, Field(discriminator="event")])


def parse_event(content: str | bytes) -> Event | None:
    """Read an event from JSON; None: it is none, or one of a kind that this version lacks."""
    from pydantic import ValidationError

    try:
        return _adapter().validate_json(content)
    except ValidationError:
        return None
