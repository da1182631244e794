"""Scores of text: perplexity, and accuracy of choices."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from offsite.modality.batch import Batch
from offsite.modality.scores import Score, share
from offsite.modality.text.examples import TextExample, encode, pair, shorten
from offsite.modality.text.loss import losses
from offsite.rows import Row

_TEXT_LENGTH = 512
"""Plain text is scored in blocks of this many tokens."""


@dataclass(frozen=True)
class Perplexity:
    """Examples that models are scored on by perplexity."""

    examples: tuple[TextExample, ...]
    cut: int = 0
    unscored: ClassVar[str] = ""

    def outcomes(self, model: PreTrainedModel, hidden: Tensor, batch: Batch) -> Tensor:
        """Compute the loss of each example."""
        return losses(model, hidden, batch)

    def scores(self, outcomes: Tensor) -> Sequence[Score]:
        """Compute the perplexity (≥ 1), over all scored tokens."""
        predicted = sum(example.weight for example in self.examples)
        return [Score("perplexity", perplexity(float(outcomes.sum()) / max(1, predicted)))]

    def details(self, _outcomes: Tensor) -> Sequence[str]:
        """Return no details."""
        return ()


@dataclass(frozen=True)
class Choices:
    """Questions that models are scored on by accuracy."""

    examples: tuple[TextExample, ...]
    """Every choice of every question."""
    counts: tuple[int, ...]
    """How many choices each question has."""
    answers: tuple[int, ...]
    cut: int = 0
    unscored: ClassVar[str] = ""

    def outcomes(self, model: PreTrainedModel, hidden: Tensor, batch: Batch) -> Tensor:
        """Compute the loss of each choice."""
        return losses(model, hidden, batch)

    def scores(self, outcomes: Tensor) -> Sequence[Score]:
        """Compute the accuracy (0 to 1).

        A choice counts as the model's answer if its tokens have the largest summed log-probability,
        which is `acc` of lm-evaluation-harness.
        """
        questions = outcomes.split(list(self.counts))
        right = [int(each.argmin()) == a for each, a in zip(questions, self.answers, strict=True)]
        return [share("accuracy", sum(right), len(right))]

    def details(self, _outcomes: Tensor) -> Sequence[str]:
        """Return no details."""
        return ()


TextBenchmark = Perplexity | Choices


def benchmark(
    rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, length: int
) -> TextBenchmark:
    """Encode rows for scoring: rows with choices by accuracy, all others by perplexity."""
    encoded = encode(rows, tokenizer, min(length, _TEXT_LENGTH) if rows[0].text else length)
    if not rows[0].choices:
        return Perplexity(encoded.examples, encoded.cut)
    options = [
        pair(row.prompt, choice, tokenizer, end=False) for row in rows for choice in row.choices
    ]
    return Choices(
        tuple(shorten(option, length) for option in options),
        counts=tuple(len(row.choices) for row in rows),
        answers=tuple(row.choices.index(row.completion) for row in rows),
        cut=encoded.cut,
    )


def perplexity(loss: float) -> float:
    """Turn a mean cross entropy in nats into a perplexity; infinite where it overflows."""
    return math.exp(loss) if loss < 700 else math.inf
