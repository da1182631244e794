"""An OffsiteJob: one stage of an exchange, and how it runs."""

from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from offsite.api.cluster import Resources, Runtime
from offsite.api.distill import Distill
from offsite.api.plug_in import PlugIn
from offsite.api.references import JobReference, Use, references
from offsite.api.tune import Tune
from offsite.api.values import RULES, Section, cel
from offsite.apiversion import ApiVersion
from offsite.wire import Name

_SECTIONS = {"Distill": "distill", "Tune": "tune", "PlugIn": "plugIn"}
_DECISIVE = frozenset({"stage", "peer", "seed", "deterministic", "distill", "tune", "plug_in"})
_ONE_WORKER = "engine Job has one worker; set resources.workers to 1, or runtime.engine to RayJob"
_PRIVATE_DDP = (
    "tune.privacy needs a copy of the model in each worker: set resources.sharding to DDP"
)
_QUANTIZED_DDP = (
    "FSDP shards no quantized block: set resources.sharding to DDP, or tune.base.quantize to None"
)
_CHANGEABLE = frozenset({"suspend", "cancel", "retries", "ttlSecondsAfterFinished"})


def _rules(schema: dict[str, Any]) -> None:
    """Add the rules that a job has the section of its stage, and that fields are immutable."""
    right = (f"has(self.{name}) == (self.stage == '{s}')" for s, name in _SECTIONS.items())
    wanted = "{" + ", ".join(f"'{s}': '{name}'" for s, name in _SECTIONS.items()) + "}"
    message = (
        f"'stage ' + self.stage + ' needs the section ' + {wanted}[self.stage] + ', and no other'"
    )
    section = cel(" && ".join(right), "set the section of the stage, and no other")
    fixed = [name for name in schema["properties"] if name not in _CHANGEABLE]
    alone = cel(
        "!has(self.resources) || !has(self.runtime) || self.resources.workers == 1 || "
        "self.runtime.engine != 'Job'",
        _ONE_WORKER,
        fieldPath=".resources.workers",
    )
    private = cel(
        "!has(self.tune) || !has(self.tune.privacy) || !has(self.resources) || "
        "self.resources.sharding == 'DDP'",
        _PRIVATE_DDP,
        fieldPath=".resources.sharding",
    )
    quantized = cel(
        "!has(self.tune) || !has(self.tune.base) || self.tune.base.quantize == 'None' || "
        "!has(self.resources) || self.resources.sharding == 'DDP'",
        _QUANTIZED_DDP,
        fieldPath=".resources.sharding",
    )
    schema[RULES] = [
        {**section, "messageExpression": message},
        alone,
        private,
        quantized,
        *map(_unchanged, fixed),
    ]


def _unchanged(name: str) -> dict[str, Any]:
    return cel(
        # not `self.?x == oldSelf.?x`: its cost cannot be estimated
        f"has(self.{name}) ? has(oldSelf.{name}) && self.{name} == oldSelf.{name} : "
        f"!has(oldSelf.{name})",
        f"{name} is immutable; create another job with another name",
        fieldPath=f".{name}",
    )


class JobSpec(Section):
    """Spec of an OffsiteJob: one stage, and how to run it."""

    model_config = ConfigDict(json_schema_extra=_rules)

    stage: Literal["Distill", "Tune", "PlugIn"]
    """The stage to run. Set the section of the same name, and no other."""
    peer: Name
    """The other organization: the name of its OffsitePeer, or of its keys with `offsite run`."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Random seed. Same seed, machine and threads: same result, except with `tune.privacy`. On a
    GPU this needs `deterministic`."""
    deterministic: bool = False
    """Use only algorithms that give the same bits each time. On a GPU, training gets slower. On a
    CPU, the algorithms always are like this."""
    distill: Distill | None = None
    """First stage, by the model owner: make an emulator and send it."""
    tune: Tune | None = None
    """Second stage, by the data owner: tune an adapter in the peer's emulator on private data."""
    plug_in: PlugIn | None = None
    """Last stage, by the model owner: plug the returned adapter into the full model."""
    resources: Resources = Resources()
    """Compute resources of the pods that train, as requests and limits."""
    runtime: Runtime = Runtime()
    """Where and how the stage runs. The administrator limits what is allowed."""
    suspend: bool = False
    """Suspends the job; false resumes it from the last checkpoint."""
    cancel: bool = False
    """Stops the job for good and keeps its record."""
    retries: int = Field(
        0,
        ge=0,
        le=1000,
        json_schema_extra={
            RULES: [
                cel(
                    "self >= oldSelf",
                    "retries can only increase; set a higher number to run the job again",
                )
            ]
        },
    )
    """Increase by one to run a failed or cancelled job again. It cannot decrease."""
    backoff_limit: int = Field(2, ge=0, le=100)
    """How many times a failed attempt is retried automatically."""
    active_deadline_seconds: int | None = Field(None, ge=1, le=2**31 - 1)
    """Time limit in seconds for all attempts together; absent: the organization's maximum."""
    ttl_seconds_after_finished: int | None = Field(None, ge=0, le=2**31 - 1)
    """Seconds until a finished job is deleted; absent: it is kept."""

    def references(self) -> tuple[JobReference, ...]:
        """List the locations and bundles that the job's fields name."""
        return tuple(references(self))

    def used(self, use: Use) -> str | None:
        """Return the first reference with a use, or None."""
        return next((each.value for each in references(self) if each.use is use), None)

    @property
    def bundle(self) -> str | None:
        """The peer's bundle that the job opens; None for a Distill job."""
        return self.used(Use.OPEN_BUNDLE)

    @property
    def model(self) -> str | None:
        """The location of the full model; None for a Tune job."""
        return self.used(Use.READ_MODEL)

    @property
    def export_to(self) -> str | None:
        """Where the plugged-in model is written; None: the default location."""
        return self.used(Use.WRITE_MODEL)

    @model_validator(mode="after")
    def _one_section(self) -> "JobSpec":
        sections = {"distill": self.distill, "tune": self.tune, "plugIn": self.plug_in}
        present = {name for name, section in sections.items() if section is not None}
        wanted = _SECTIONS[self.stage]
        if present != {wanted}:
            found = ", ".join(sorted(present)) or "none"
            raise ValueError(
                f"stage {self.stage} needs the section {wanted}, and no other; found {found}"
            )
        return self

    @model_validator(mode="after")
    def _workers_have_ray(self) -> "JobSpec":
        if self.resources.workers > 1 and self.runtime.engine == "Job":
            raise ValueError(f"resources.workers: {_ONE_WORKER}")
        return self

    @model_validator(mode="after")
    def _private_workers_have_copies(self) -> "JobSpec":
        private = self.tune is not None and self.tune.privacy is not None
        if private and self.resources.sharding != "DDP":
            raise ValueError(f"resources.sharding: {_PRIVATE_DDP}")
        return self

    @model_validator(mode="after")
    def _quantized_blocks_are_whole(self) -> "JobSpec":
        quantized = self.tune is not None and self.tune.base.quantize != "None"
        if quantized and self.resources.sharding != "DDP":
            raise ValueError(f"resources.sharding: {_QUANTIZED_DDP}")
        return self

    def decides(self) -> dict[str, Any]:
        """Return the fields that affect the result, as JSON."""
        return self.model_dump(mode="json", include=set(_DECISIVE))


class Metadata(Section):
    """Metadata of a job. What the job publishes has the same name."""

    name: Name
    namespace: Name | None = None
    labels: dict[str, str] = Field(default={})
    annotations: dict[str, str] = Field(default={})


class OffsiteJob(Section):
    """One stage of an exchange between two organizations."""

    api_version: ApiVersion
    kind: Literal["OffsiteJob"]
    metadata: Metadata
    spec: JobSpec
