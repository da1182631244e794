"""What decides a stage's result: the sections `distill`, `tune` and `plugIn` of a job."""

from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from offsite.api.values import (
    RULES,
    Bundle,
    Duration,
    Location,
    ModelLocation,
    Section,
    TextLocation,
    cel,
)

_HEALING = "emulator.heal: true needs emulator.calibration or training.corpus"
_BLOCKS = "method Blocks needs scope: Ends, since emulator blocks do not transfer"
_RANK = "rank is of method LoRA only"
_ACCEPT = "accept needs evaluate: the text that the adapter is judged on"


class Ends(Section):
    """How many blocks at either end are never compressed (the paper's adapter position)."""

    bottom: int = Field(2, ge=1, le=1000)
    """Blocks at the input's end."""
    top: int = Field(2, ge=1, le=1000)
    """Blocks at the output's end."""


class Emulator(Section):
    """How the middle of the model becomes the emulator."""

    method: Literal["LayerDrop"] = "LayerDrop"
    """LayerDrop keeps some of the middle blocks, evenly spread."""
    blocks: int = Field(ge=1, le=1000)
    """How many of the middle blocks are kept."""
    heal: bool | None = None
    """Fold a closed-form correction into the kept blocks; absent: where the family allows it."""
    calibration: TextLocation | None = None
    """The text that healing fits to; absent: the training corpus."""


class DistillTraining(Section):
    """Training of the emulator against the blocks that it stands for."""

    corpus: TextLocation
    """The text to train on."""
    steps: int = Field(2000, ge=1, le=10_000_000)
    """How many steps to train."""
    learning_rate: float = Field(1e-4, gt=0, le=1)
    """It rises over the first tenth of the steps, then falls as a cosine."""
    lm_weight: float = Field(1.0, ge=0)
    """Weight of the language-model loss."""
    kd_weight: float = Field(30.0, ge=0)
    """Weight of the hidden-state loss."""
    batch_size: int = Field(16, ge=1, le=4096)
    """Examples of a step."""
    block_size: int = Field(512, ge=8, le=1_048_576)
    """Tokens of an example."""
    gradient_checkpointing: bool = False
    """Less memory, more time."""


class Grant(Section):
    """What an emulator may be used for. Its issuer enforces it on the adapters that return."""

    expires_after: Duration | None = None
    """No adapter is accepted that comes later, such as 720h; absent: no end."""
    max_uses: int | None = Field(None, ge=1, le=1_000_000)
    """How many distinct adapters are accepted; absent: any number."""


class Distill(Section):
    """What the model owner does first: make an emulator and send it."""

    model_config = ConfigDict(
        json_schema_extra={
            RULES: [
                cel(
                    "!(has(self.emulator.heal) && self.emulator.heal) || "
                    "has(self.emulator.calibration) || has(self.training)",
                    _HEALING,
                )
            ]
        }
    )

    model: ModelLocation
    """The full model: a folder of a Hugging Face model with safetensors."""
    ends: Ends = Ends()
    """How many blocks at either end are never compressed."""
    emulator: Emulator
    """How the middle of the model becomes the emulator."""
    training: DistillTraining | None = None
    """Training of the emulator against the blocks that it stands for; absent: no distillation."""
    grant: Grant = Grant()
    """What the emulator may be used for."""
    evaluate: TextLocation | None = None
    """A text that both parties hold; the full model and the emulator are scored on it."""

    @model_validator(mode="after")
    def _healing_has_text(self) -> "Distill":
        if self.emulator.heal and not (self.emulator.calibration or self.training):
            raise ValueError(_HEALING)
        return self


class Data(Section):
    """The data owner's private data: `.jsonl` (`text`, or `prompt` and `completion`) or `.txt`."""

    train: TextLocation
    """What the adapter is trained on."""
    validation: TextLocation
    """What chooses the best of several checkpoints."""


class Adapter(Section):
    """What is trainable (DESIGN: `Blocks` with `Ends` is the paper's adapter)."""

    model_config = ConfigDict(
        json_schema_extra={
            RULES: [
                cel("self.method != 'Blocks' || self.scope == 'Ends'", _BLOCKS),
                cel("self.method != 'Blocks' || !has(self.rank)", _RANK),
            ]
        }
    )

    method: Literal["LoRA", "Blocks"] = "LoRA"
    """LoRA, or Blocks: all tensors of the end blocks."""
    scope: Literal["All", "Ends"] = "All"
    """All blocks of the bundle, or its Ends; Blocks needs Ends."""
    rank: int | None = Field(None, ge=1, le=64)
    """LoRA only; absent: 16. No model owner accepts more than 64."""

    @model_validator(mode="after")
    def _blocks_are_ends(self) -> "Adapter":
        if self.method == "Blocks" and self.scope == "All":
            raise ValueError(_BLOCKS)
        if self.method == "Blocks" and self.rank is not None:
            raise ValueError(_RANK)
        return self


class TuneTraining(Section):
    """Training of the adapter."""

    epochs: int = Field(3, ge=1, le=10_000)
    """How often the data is gone through."""
    steps: int | None = Field(None, ge=1, le=10_000_000)
    """Stop after so many steps, however many epochs that is; absent: `epochs` decides."""
    learning_rate: float = Field(1e-3, gt=0, le=1)
    """It rises over the first tenth of the steps, then falls as a cosine."""
    batch_size: int = Field(8, ge=1, le=4096)
    """Examples of a step."""
    block_size: int = Field(512, ge=8, le=1_048_576)
    """Tokens of an example at most; plain text is packed into blocks of this many."""
    gradient_checkpointing: bool = False
    """Less memory, more time."""


class Tune(Section):
    """What the data owner does: tune the adapter in the bundle, on private data."""

    bundle: Bundle
    """The name of the peer's job that made it, or name@sha256:… for one envelope of it."""
    data: Data
    """The private data: `.jsonl` (`text`, or `prompt` and `completion`) or `.txt`."""
    adapter: Adapter = Adapter()
    """What is trainable."""
    training: TuneTraining = TuneTraining()
    """How the adapter is trained."""
    evaluate: TextLocation | None = None
    """A text that both parties hold; untouched and tuned emulator are scored on it."""


class Export(Section):
    """Where the plugged-in model is written, as a Hugging Face model."""

    to: Location
    """A folder that does not exist yet: nothing that is there already is ever replaced."""


class Accept(Section):
    """What an adapter has to reach on the text of `evaluate`, or nothing is exported."""

    max_regression: float = Field(ge=0, le=1000)
    """How much worse it may make the model: of a perplexity the share by which it grows, such as
    0.05, of an accuracy the difference; 0: not worse at all."""


class PlugIn(Section):
    """What the model owner does last: put the returned adapter into the full model."""

    model_config = ConfigDict(
        json_schema_extra={RULES: [cel("!has(self.accept) || has(self.evaluate)", _ACCEPT)]}
    )

    model: ModelLocation
    """The full model that the emulator was made from."""
    adapter: Bundle
    """The name of the peer's job that made it, or name@sha256:… for one envelope of it."""
    alpha: float = Field(1.0, ge=0, le=2)
    """Scale of the change (WiSE-FT, arXiv 2109.01903)."""
    evaluate: TextLocation | None = None
    """The full model, untouched and plugged in, are scored on this text."""
    accept: Accept | None = None
    """What the adapter has to reach on that text; absent: it is exported, however it does."""
    export: Export | None = None
    """Where the plugged-in model is written; absent: `models/<job>` in the party's own store."""

    @model_validator(mode="after")
    def _accepts_on_text(self) -> "PlugIn":
        if self.accept is not None and self.evaluate is None:
            raise ValueError(_ACCEPT)
        return self
