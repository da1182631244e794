"""The OffsiteJob contract: the one source of the job file's types and of the CRD's schema.

A field stands here when the code behind it does; anything else is an unknown field and an error.
Python names are snake_case, the wire is camelCase.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
_OWN = r"file:///.+|s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/.+"
PATH_PATTERN = rf"^({_OWN}|[^:]+)$"
MODEL_PATTERN = rf"^({_OWN}|hf://\w[\w.-]*/\w[\w.-]*(@[\w.-]+)?|[^:]+)$"
BUNDLE_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(@sha256:[0-9a-f]{64})?$"
DURATION_PATTERN = r"^[1-9][0-9]{0,6}[hms]$"

PATTERN_MEANING = {
    NAME_PATTERN: "a DNS label: lower-case letters, digits and hyphens, 63 at most",
    BUNDLE_PATTERN: "the name of a bundle, or name@sha256:digest for one envelope of it",
    DURATION_PATTERN: "a duration, such as 720h, 30m or 10s",
    PATH_PATTERN: "a path (relative to the job file), file:///path, or s3://bucket/path",
    MODEL_PATTERN: (
        "a path (relative to the job file), file:///path, s3://bucket/path, or "
        "hf://org/name@revision"
    ),
}
"""What to tell a user whose value does not match."""

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
"""It becomes a path in the exchange and a name in Kubernetes."""

Bundle = Annotated[str, Field(pattern=BUNDLE_PATTERN)]
"""A bundle that the peer sent."""

Duration = Annotated[str, Field(pattern=DURATION_PATTERN)]

Location = Annotated[str, Field(pattern=PATH_PATTERN)]
"""Where a text or a data set lies, or a model is to be written; `s3://` is the private store."""

ModelLocation = Annotated[str, Field(pattern=MODEL_PATTERN)]
"""Where a model lies; a hub has no other thing that a job reads."""


class _Section(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=False,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        strict=True,
    )


class Ends(_Section):
    """How many blocks at either end are never compressed (the paper's adapter position)."""

    bottom: int = Field(2, ge=1, le=1000)
    top: int = Field(2, ge=1, le=1000)


class Emulator(_Section):
    """How the middle of the model becomes the emulator."""

    method: Literal["LayerDrop"] = "LayerDrop"
    blocks: int = Field(ge=1, le=1000)
    """How many of the middle blocks are kept."""
    heal: bool | None = None
    """Fold a closed-form correction into the kept blocks; absent: where the family allows it."""
    calibration: Location | None = None
    """The text that healing fits to; absent: the training corpus."""


class DistillTraining(_Section):
    """Training of the emulator against the blocks that it stands for."""

    corpus: Location
    steps: int = Field(2000, ge=1, le=10_000_000)
    learning_rate: float = Field(1e-4, gt=0, le=1)
    lm_weight: float = Field(1.0, ge=0)
    kd_weight: float = Field(30.0, ge=0)
    batch_size: int = Field(16, ge=1, le=4096)
    block_size: int = Field(512, ge=8, le=1_048_576)
    gradient_checkpointing: bool = False


class Grant(_Section):
    """What an emulator may be used for. Its issuer enforces it on the adapters that return."""

    expires_after: Duration | None = None
    max_uses: int | None = Field(None, ge=1, le=1_000_000)
    """How many distinct adapters are accepted."""


class Distill(_Section):
    """What the model owner does first: make an emulator and send it."""

    model: ModelLocation
    ends: Ends = Ends()
    emulator: Emulator
    training: DistillTraining | None = None
    """Absent: no distillation."""
    grant: Grant = Grant()
    evaluate: Location | None = None
    """A text that both parties hold; the full model and the emulator are scored on it."""

    @model_validator(mode="after")
    def _healing_has_text(self) -> "Distill":
        if self.emulator.heal and not (self.emulator.calibration or self.training):
            raise ValueError("emulator.heal: true needs emulator.calibration or training.corpus")
        return self


class Data(_Section):
    """The data owner's private data: JSONL (`text`, or `prompt` and `completion`) or plain text."""

    train: Location
    validation: Location


class Adapter(_Section):
    """What is trainable (DESIGN: `Blocks` with `Ends` is the paper's adapter)."""

    method: Literal["LoRA", "Blocks"] = "LoRA"
    scope: Literal["All", "Ends"] = "All"
    rank: int | None = Field(None, ge=1, le=64)
    """LoRA only; absent: 16. No model owner accepts more."""

    @model_validator(mode="after")
    def _blocks_are_ends(self) -> "Adapter":
        if self.method == "Blocks" and self.scope == "All":
            raise ValueError(
                "method Blocks needs scope: Ends, since emulator blocks do not transfer"
            )
        if self.method == "Blocks" and self.rank is not None:
            raise ValueError("rank is of method LoRA only")
        return self


class TuneTraining(_Section):
    """Training of the adapter."""

    epochs: int = Field(3, ge=1, le=10_000)
    steps: int | None = Field(None, ge=1, le=10_000_000)
    """Stop after so many steps, however many epochs that is; absent: `epochs` decides."""
    learning_rate: float = Field(1e-3, gt=0, le=1)
    batch_size: int = Field(8, ge=1, le=4096)
    block_size: int = Field(512, ge=8, le=1_048_576)
    """Tokens of an example at most; plain text is packed into blocks of this many."""
    gradient_checkpointing: bool = False


class Tune(_Section):
    """What the data owner does: tune the adapter in the bundle, on private data."""

    bundle: Bundle
    data: Data
    adapter: Adapter = Adapter()
    training: TuneTraining = TuneTraining()
    evaluate: Location | None = None


class Export(_Section):
    """Where the plugged-in model is written, as a Hugging Face model."""

    to: Location


class PlugIn(_Section):
    """What the model owner does last: put the returned adapter into the full model."""

    model: ModelLocation
    adapter: Bundle
    alpha: float = Field(1.0, ge=0, le=2)
    """Scale of the change (WiSE-FT, arXiv 2109.01903)."""
    evaluate: Location | None = None
    export: Export | None = None
    """Absent: into the party's own home folder."""


class JobSpec(_Section):
    """One stage of one exchange between two parties."""

    stage: Literal["Distill", "Tune", "PlugIn"]
    peer: Name
    """The other organization, as its keys are pinned."""
    seed: int = Field(0, ge=0, lt=2**31)
    distill: Distill | None = None
    tune: Tune | None = None
    plug_in: PlugIn | None = None

    @model_validator(mode="after")
    def _one_section(self) -> "JobSpec":
        sections = {"distill": self.distill, "tune": self.tune, "plugIn": self.plug_in}
        present = {name for name, section in sections.items() if section is not None}
        wanted = {"Distill": "distill", "Tune": "tune", "PlugIn": "plugIn"}[self.stage]
        if present != {wanted}:
            found = ", ".join(sorted(present)) or "none"
            raise ValueError(f"stage {self.stage} needs section {wanted} alone; found {found}")
        return self


class Metadata(_Section):
    """The job's name; what it publishes has the same name."""

    name: Name


class OffsiteJob(_Section):
    """A job, as `kubectl apply` and `offsite run` read it."""

    api_version: Literal["offsite-tuning.dev/v1alpha1"]  # noqa: V107 - it only has to be there
    kind: Literal["OffsiteJob"]
    metadata: Metadata
    spec: JobSpec
