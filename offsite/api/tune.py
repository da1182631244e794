"""The section `tune` of a job."""

import re
from typing import Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from offsite.api.evaluation import LmEval
from offsite.api.privacy import Privacy
from offsite.api.release import Release
from offsite.api.values import (
    PARTS_RULE,
    ROWS_PATTERN,
    RULES,
    Bundle,
    DataLocation,
    LabelName,
    Section,
    cel,
    checked_parts,
)
from offsite.families import Targets
from offsite.labels import MAX_LABELS, labels_problem

_BLOCKS = "method Blocks needs scope: Ends: set it, or use method LoRA"
_RANK = "only method LoRA has a rank; remove it"
_TARGETS = "only method LoRA has targets; remove it"
_ROWS = (
    "privacy needs data.train with rows, since it protects rows: use a .jsonl file with one JSON "
    "object per line, or images"
)
_COLUMN = (
    "privacy.unit needs data.train with a column, which a folder of images has not: use JSON lines "
    "or Parquet"
)

Augmentation = Literal["CropAndFlip", "Crop", "None"]
"""Random changes of images while training."""


class Data(Section):
    """The data owner's private data: text or images, as the emulator reads it.

    Text is `.jsonl` (`text`, or `prompt` and `completion`) or `.txt`. Images are a folder with a
    subfolder for each class, which ends in `/`; `.jsonl` with `image` and `label`; or `.parquet`.
    """

    train: DataLocation
    """Data to train the adapter on."""
    validation: DataLocation
    """Data to select the best checkpoint with. With `privacy`, it selects nothing."""


class Base(Section):
    """How the emulator is held in memory while the adapter is tuned in it."""

    quantize: Literal["None", "Int8", "NF4"] = "None"
    """Quantizes the frozen linear layers of its blocks when it is loaded, to 8 bits (Int8) or 4
    bits (NF4) a weight: less memory, a little less exact. Nothing quantized is sent."""


class Head(Section):
    """A new classification head that the adapter brings. Only models that read images have one."""

    # a set, so that the API server refuses a name that is there twice; their order counts
    labels: list[LabelName] = Field(
        min_length=2,
        max_length=MAX_LABELS,
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    """Names of the classes, in the order of the head's outputs. They are sent to the peer. Names
    that are the model's own, in its order, keep its head."""

    @field_validator("labels")
    @classmethod
    def _are_classes(cls, labels: list[str]) -> list[str]:
        if problem := labels_problem(labels):
            raise ValueError(problem)
        return labels


class Adapter(Section):
    """Which parameters are trained. `Blocks` with `Ends` is the adapter of the paper."""

    model_config = ConfigDict(
        json_schema_extra={
            RULES: [
                cel("self.method != 'Blocks' || self.scope == 'Ends'", _BLOCKS),
                cel("self.method != 'Blocks' || !has(self.rank)", _RANK),
                cel("self.method != 'Blocks' || self.targets == 'All'", _TARGETS),
            ]
        }
    )

    method: Literal["LoRA", "Blocks"] = "LoRA"
    """LoRA: low-rank changes. Blocks: all tensors of the end blocks."""
    scope: Literal["All", "Ends"] = "All"
    """Blocks to adapt: All, or only the first and last (Ends). Method Blocks needs Ends."""
    targets: Targets = "All"
    """Linear layers of these blocks that LoRA adapts: All, only those of the MLPs (MLP), or only
    those of the attention (Attention)."""
    rank: int | None = Field(None, ge=1, le=64)
    """Rank of LoRA; absent: 16, or less for a narrow model."""
    head: Head | None = None
    """A new classification head; absent: the model's own head if it knows all labels of
    `data.train`, else a new one with those labels, sorted."""

    @model_validator(mode="after")
    def _blocks_are_ends(self) -> "Adapter":
        if self.method == "Blocks" and self.scope == "All":
            raise ValueError(_BLOCKS)
        if self.method == "Blocks" and self.rank is not None:
            raise ValueError(_RANK)
        if self.method == "Blocks" and self.targets != "All":
            raise ValueError(_TARGETS)
        return self


class TuneTraining(Section):
    """How to train the adapter."""

    model_config = ConfigDict(json_schema_extra={RULES: [PARTS_RULE]})

    epochs: int = Field(3, ge=1, le=10_000)
    """Number of passes over the data."""
    steps: int | None = Field(None, ge=1, le=10_000_000)
    """Number of training steps; overrides `epochs`."""
    learning_rate: float = Field(1e-3, gt=0, le=1)
    """Peak learning rate: linear warm-up over a tenth of the training steps, then cosine decay."""
    batch_size: int = Field(8, ge=1, le=4096)
    """Number of examples in a training step, over all workers."""
    block_size: int = Field(512, ge=8, le=1_048_576)
    """Maximum number of tokens in an example. Plain text is packed into blocks of this size."""
    augmentation: Augmentation = "CropAndFlip"
    """Random changes of images: CropAndFlip, only Crop where left and right have a meaning, such as
    of digits or organs, or None. Text is not changed."""
    accumulate: int = Field(1, ge=1, le=4096)
    """Number of parts in which a training step computes its examples, one after the other: less
    memory, and the same result but for rounding. At most `batchSize`."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, more time."""

    @model_validator(mode="after")
    def _parts_are_examples(self) -> "TuneTraining":
        checked_parts(self.accumulate, self.batch_size)
        return self


class Tune(Section):
    """Second stage, by the data owner: tune an adapter in the emulator on private data."""

    model_config = ConfigDict(
        json_schema_extra={
            RULES: [
                cel(
                    f"!has(self.privacy) || self.data.train.matches(r'{ROWS_PATTERN}')",
                    _ROWS,
                    fieldPath=".data.train",
                ),
                cel(
                    "!has(self.privacy) || !has(self.privacy.unit) || "
                    "!self.data.train.endsWith('/')",
                    _COLUMN,
                    fieldPath=".data.train",
                ),
            ]
        }
    )

    bundle: Bundle
    """The peer's emulator: its bundle's name, or name@sha256:… (an envelope) for one version."""
    data: Data
    """The private data: text (`.jsonl`, `.txt`), or images (a folder that ends in `/`, `.jsonl` or
    `.parquet`)."""
    adapter: Adapter = Adapter()
    """Which parameters are trained."""
    training: TuneTraining = TuneTraining()
    """How to train the adapter."""
    base: Base = Base()
    """How the emulator is held in memory."""
    privacy: Privacy | None = None
    """Differential privacy of the adapter; absent: none."""
    release: Release | None = None
    """Audits of the adapter before it is published; absent: those that the organization requires.
    """
    evaluate: DataLocation | None = None
    """Data that both parties have. The emulator is evaluated on it before and after tuning."""
    lm_eval: LmEval | None = None
    """Tasks of lm-eval. The emulator is scored on them before and after tuning."""

    @model_validator(mode="after")
    def _privacy_has_rows(self) -> "Tune":
        if self.privacy is not None and not re.search(ROWS_PATTERN, self.data.train):
            raise ValueError(f"data.train: {_ROWS}")
        if self.privacy and self.privacy.unit and self.data.train.endswith("/"):
            raise ValueError(f"data.train: {_COLUMN}")
        return self
