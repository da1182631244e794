"""Scores of text: perplexity, and accuracy of choices."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from offsite.modality.batch import Batch
from offsite.modality.scores import Score, proportion
from offsite.modality.text.chance import unigram
from offsite.modality.text.examples import TextExample, encode, pair, shorten
from offsite.modality.text.loss import losses
from offsite.modality.uncertainty import Comparable, Floats, Interval, Skill, mean, mean_interval
from offsite.rows import Row

_TEXT_LENGTH = 512
"""Plain text is scored in blocks of this many tokens."""


@dataclass(frozen=True)
class Perplexity(Comparable):
    """Examples that models are scored on by perplexity."""

    examples: tuple[TextExample, ...]
    cut: int = 0
    unscored: ClassVar[str] = ""

    def outcomes(self, model: PreTrainedModel, hidden: Tensor, batch: Batch) -> Tensor:
        """Compute the loss of each example."""
        return losses(model, hidden, batch)

    def scores(self, outcomes: Tensor) -> Sequence[Score]:
        """Compute the perplexity (≥ 1), over all scored tokens."""
        skill = self.skill(outcomes)
        return [Score("perplexity", perplexity(-mean(skill)), perplexities(mean_interval(skill)))]

    def skill(self, outcomes: Tensor) -> Skill:
        """Return the log-likelihood of each example, which counts by its scored tokens."""
        return Skill("perplexity", -outcomes.double().numpy(), self._weights)

    def chance(self, corpus: Sequence[TextExample]) -> Skill:
        """Return the log-likelihood by the frequencies of a corpus' tokens, as `skill` does."""
        return Skill("perplexity", unigram(self.examples, corpus), self._weights)

    @property
    def _weights(self) -> Floats:
        return np.array([example.weight for example in self.examples], dtype=np.float64)

    def details(self, _outcomes: Tensor) -> Sequence[str]:
        """Return no details."""
        return ()


@dataclass(frozen=True)
class Choices(Comparable):
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
        right = self.skill(outcomes).amounts
        return [proportion("accuracy", int(right.sum()), len(right))]

    def skill(self, outcomes: Tensor) -> Skill:
        """Return 1 for each question that is answered right, else 0."""
        questions = outcomes.split(list(self.counts))
        right = [int(each.argmin()) == a for each, a in zip(questions, self.answers, strict=True)]
        return Skill("accuracy", np.array(right, dtype=np.float64), np.ones(len(right)))

    def chance(self, _corpus: Sequence[TextExample]) -> Skill:
        """Return the probability that a choice drawn at random is right, for each question."""
        counts = np.array(self.counts, dtype=np.float64)
        return Skill("accuracy", 1 / counts, np.ones(len(counts)))

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


def perplexities(interval: Interval | None) -> Interval | None:
    """Turn the interval of a log-likelihood per token into that of the perplexity."""
    if interval is None:
        return None
    low, high = perplexity(-interval[1]), perplexity(-interval[0])
    return (low, high) if math.isfinite(high) else None
