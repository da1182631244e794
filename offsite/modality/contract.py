"""What a modality offers, and what the layers above it see of examples.

Rows and examples are a modality's own types. The layers above pass them on, and read of an example
no more than `Example` has.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedModel

from offsite.api import Augmentation
from offsite.families import Family
from offsite.harness import Source
from offsite.modality.batch import Batch
from offsite.modality.scores import Benchmark
from offsite.rows import DataFile


@dataclass(frozen=True)
class Public:
    """Public examples of one kind, of one size and without padding, to inspect a model on."""

    kind: str
    """Names them in messages, such as `prose`."""
    batch: Batch
    contents: Tensor
    """(B, T): what stands at each position, as a number. Equal contents have equal numbers."""
    groups: tuple[Tensor, ...]
    """(B, T) each: a number for each position. A weight that positions of one number alone change
    stores what stands there: one token of text, one image, one place."""
    routes: tuple[Tensor, ...]
    """(T, T) each: which way leads from a query to a key, as a number: one distance, or one place;
    -1 where honest heads look, too. A head that takes one way everywhere copies."""
    skipped: int = 0
    """Number of leading positions that do not count, since attention sends there what it does not
    use."""

    def to(self, where: torch.device) -> "Public":
        """Copy the examples to a device."""
        groups, routes = (tuple(e.to(where) for e in each) for each in (self.groups, self.routes))
        return replace(self, batch=self.batch.to(where), groups=groups, routes=routes)


class Example(Protocol):
    """One example of a data set, as its modality encoded it."""

    @property
    def size(self) -> int:
        """How many positions of a hidden state it takes. Examples of like size share a batch."""
        ...

    @property
    def weight(self) -> int:
        """How many of its targets a loss is taken on: its weight in a mean loss."""
        ...


E = TypeVar("E", bound=Example, covariant=True)


@dataclass(frozen=True)
class Encoded(Generic[E]):
    """A data set as examples, and how many of them had to be cut to fit."""

    examples: tuple[E, ...]
    cut: int = 0


class Modality(Protocol):
    """One kind of data, for one model: its rows, examples, batches, losses and companion files.

    To add a modality, write a module with a class that has these methods, name it in `MODALITIES`,
    and name it in the rows of its model families. Nothing in `layers`, `training` or `stages`
    changes.
    """

    @classmethod
    def open(cls, view: Path, folder: Path, row: Family, model: PreTrainedModel) -> "Modality":
        """Load the companion files of a model, such as a tokenizer.

        Args:
            view: the folder with the files to load, and no others.
            folder: where they are from, for messages.

        Raises:
            ModelError: they are missing, damaged, or those of another model.
        """
        ...

    @staticmethod
    def check(data: DataFile) -> None:
        """Read all of a data set, so that what is wrong with it costs no loading of a model.

        Raises:
            DataError: as `read`, or where a row opens a file that is not as it should be.
        """
        ...

    @staticmethod
    def read(data: DataFile) -> Sequence[Any]:
        """Read a data set as rows; needs no model. What is large, such as pixels, stays on disk.

        A row has an attribute `group`: its value in the column `data.group`, or an empty string.

        Raises:
            DataError: it cannot be read, or a row is not as it should be; names file and line.
        """
        ...

    @property
    def distill_weights(self) -> tuple[float, float]:
        """How much the loss on the targets counts in distillation by default, and how much the
        error of the hidden states."""
        ...

    def augmenting(self, how: Augmentation) -> "Modality":
        """Return the modality that augments examples in this way, if it can."""
        ...

    def without_targets(self) -> "Modality":
        """Return the modality for data that is only read: of its examples nothing is predicted.

        Where no target is separate from the input, as in text, that is the modality itself.
        """
        ...

    def with_labels(self, labels: Sequence[str]) -> "Modality":
        """Return the modality of the model with a head for other classes, in their order.

        A modality without classes returns itself.
        """
        ...

    def encode(self, rows: Sequence[Any], length: int, least: int = 1) -> Encoded[Any]:
        """Turn rows into examples to train on.

        A peer's companion files must not make a row fail: the failure would reveal something about
        the private data.

        Args:
            length: largest size of an example; the model's own limit holds, too.
            least: how many examples there have to be at least, where rows are packed.

        Raises:
            DataError: a row holds what the model does not know. Names no file.
            ModelError: a companion file cannot encode the rows.
        """
        ...

    def benchmark(self, rows: Sequence[Any]) -> Benchmark:
        """Encode rows to score models on.

        Raises:
            DataError, ModelError: as `encode`.
        """
        ...

    def scoring(self, examples: Sequence[Any]) -> Benchmark:
        """Score models on encoded examples: text by perplexity, labelled images by accuracy."""
        ...

    def tasks(self, sources: Sequence[Source]) -> Sequence[Benchmark]:
        """Make benchmarks of tasks of lm-eval.

        Raises:
            DataError: the modality has none, or the data does not fit the task.
        """
        ...

    def canaries(self, count: int, size: int, draw: Random) -> Sequence[Any]:
        """Make examples of random content, which no row resembles, for an audit of the training.

        Args:
            size: largest size of an example.
            draw: the source of their content.
        """
        ...

    def public(self) -> Sequence[Public]:
        """Make public examples of several kinds, on which a peer's emulator is inspected.

        Their number and sizes are bounded, whatever the peer's companion files say.

        Raises:
            ModelError: a companion file cannot encode them.
        """
        ...

    def predictions(self, model: PreTrainedModel, hidden: Tensor) -> Tensor:
        """Compute what the head predicts of some positions or examples: logits, (N, classes).

        Args:
            hidden: what the head reads, (B, T, D).
        """
        ...

    def collate(self, examples: Sequence[Any], seed: str | None = None) -> Batch:
        """Stack examples into one batch. What is large, such as pixels, is read here.

        Args:
            seed: augment each example at random, as a function of this seed and of the example
                alone: whichever others are in the batch, and wherever it is computed. None: do not.

        Raises:
            DataError: an example is not what it was when its row was read.
        """
        ...

    def summed_loss(self, model: PreTrainedModel, hidden: Tensor, batch: Batch) -> Tensor:
        """Sum the loss over all targets of a batch, in nats: what training minimizes, a scalar.

        Args:
            hidden: what the head reads, (B, T, D).
        """
        ...

    def losses(self, model: PreTrainedModel, hidden: Tensor, batch: Batch) -> Tensor:
        """Compute the loss of each example, (B,) in float64, summed over its targets, in nats.

        Their sum is `summed_loss` but for rounding; `batch.weights` are their weights in a mean.

        Args:
            hidden: what the head reads, (B, T, D).
        """
        ...

    def save(self, folder: Path) -> None:
        """Write the companion files beside a model's weights."""
        ...
