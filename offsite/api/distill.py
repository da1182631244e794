"""The section `distill` of a job."""

from pydantic import ConfigDict, Field, model_validator

from offsite.api.emulators import Emulator
from offsite.api.evaluation import LmEval
from offsite.api.release import EmulatorRelease
from offsite.api.values import (
    PARTS_RULE,
    RULES,
    DataLocation,
    Duration,
    ModelLocation,
    Section,
    cel,
    checked_parts,
)

_HEALING = "emulator.heal: true needs emulator.calibration or training.corpus"
_RELEASE = "release needs emulator.calibration or training.corpus, which it attacks with"


class Ends(Section):
    """Blocks at both ends that are never compressed. In the paper they are the adapter."""

    bottom: int = Field(2, ge=1, le=1000)
    """Number of blocks next to the input."""
    top: int = Field(2, ge=1, le=1000)
    """Number of blocks next to the output."""


class DistillTraining(Section):
    """Distillation of the emulator from the blocks that it replaces."""

    model_config = ConfigDict(json_schema_extra={RULES: [PARTS_RULE]})

    corpus: DataLocation
    """Text or images to train on."""
    steps: int = Field(2000, ge=1, le=10_000_000)
    """Number of training steps."""
    learning_rate: float = Field(1e-4, gt=0, le=1)
    """Peak learning rate: linear warm-up over a tenth of the training steps, then cosine decay."""
    lm_weight: float | None = Field(None, ge=0)
    """Weight of the loss on the targets: of text, the language-modelling loss; absent: 1 for text,
    0 for images, whose labels the corpus then need not have."""
    kd_weight: float | None = Field(None, ge=0)
    """Weight of the hidden-state loss; absent: 30 for text, 1 for images."""
    batch_size: int = Field(16, ge=1, le=4096)
    """Number of examples in a training step, over all workers."""
    block_size: int = Field(512, ge=8, le=1_048_576)
    """Number of tokens in an example."""
    accumulate: int = Field(1, ge=1, le=4096)
    """Number of parts in which a training step computes its examples, one after the other: less
    memory, and the same result but for rounding. At most `batchSize`."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, more time."""

    @model_validator(mode="after")
    def _parts_are_examples(self) -> "DistillTraining":
        checked_parts(self.accumulate, self.batch_size)
        return self


class Grant(Section):
    """How an emulator may be used. Its sender enforces this when adapters return."""

    expires_after: Duration | None = None
    """Adapters received later than this after the emulator was sent, such as 720h, are rejected;
    absent: no limit."""
    max_uses: int | None = Field(None, ge=1, le=1_000_000)
    """Maximum number of different adapters to accept; absent: no limit."""


class Distill(Section):
    """First stage, by the model owner: make an emulator and send it."""

    model_config = ConfigDict(
        json_schema_extra={
            RULES: [
                cel(
                    "!(has(self.emulator.heal) && self.emulator.heal) || "
                    "has(self.emulator.calibration) || has(self.training)",
                    _HEALING,
                ),
                cel(
                    "!has(self.release) || has(self.emulator.calibration) || has(self.training)",
                    _RELEASE,
                ),
            ]
        }
    )

    model: ModelLocation
    """The full model: a Hugging Face model folder with safetensors."""
    ends: Ends = Ends()
    """The first and last blocks of the model, which the emulator has unchanged."""
    emulator: Emulator
    """How the middle of the model is compressed."""
    training: DistillTraining | None = None
    """Distil the dropped blocks into the emulator by training; absent: no training."""
    grant: Grant = Grant()
    """Limits on the adapters that are accepted for the emulator."""
    release: EmulatorRelease | None = None
    """Measure before publication how much of the model can be recovered; absent: no audit."""
    evaluate: DataLocation | None = None
    """Data that both parties have. The full model and the emulator are evaluated on it."""
    lm_eval: LmEval | None = None
    """Tasks of lm-eval. The full model and the emulator are scored on them."""

    @model_validator(mode="after")
    def _healing_has_text(self) -> "Distill":
        if self.emulator.heal and not self.has_public_data:
            raise ValueError(_HEALING)
        return self

    @model_validator(mode="after")
    def _release_has_data(self) -> "Distill":
        if self.release and not self.has_public_data:
            raise ValueError(_RELEASE)
        return self

    @property
    def has_public_data(self) -> bool:
        """Whether the job has data of the model owner's own: to train, heal or attack with."""
        return bool(self.emulator.calibration or self.training)
