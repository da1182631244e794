"""Scores of a model: perplexity of text, accuracy of choices."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from offsite.events import Monitor
from offsite.layers import (
    IGNORED,
    Batch,
    each_loss,
    final_hidden,
    inference,
    rank,
    total,
    workers,
)
from offsite.rows import Row
from offsite.training.data import Example, batches, encode, pair, shorten

_BATCH_TOKENS = 2048
_TEXT_LENGTH = 512
"""Plain text is scored in blocks of this many tokens."""


@dataclass(frozen=True)
class Text:
    """Examples that models are scored on by perplexity, encoded once."""

    examples: tuple[Example, ...]
    cut: int
    """How many prompts were longer than the context."""
    metric: ClassVar[str] = "perplexity"

    def score(self, model: PreTrainedModel, monitor: Monitor, phase: str) -> float:
        """Compute the perplexity of a model (≥ 1), over all scored tokens."""
        return perplexity(mean_loss(model, self.examples, monitor, phase))


@dataclass(frozen=True)
class Choices:
    """Questions that models are scored on by accuracy, encoded once."""

    examples: tuple[Example, ...]
    """Every choice of every question."""
    counts: tuple[int, ...]
    """How many choices each question has."""
    answers: tuple[int, ...]
    cut: int
    metric: ClassVar[str] = "accuracy"

    def score(self, model: PreTrainedModel, monitor: Monitor, phase: str) -> float:
        """Compute the accuracy of a model (0 to 1).

        A choice counts as the model's answer if its tokens have the largest summed log-probability,
        which is `acc` of lm-evaluation-harness.
        """
        losses = summed_losses(model, self.examples, monitor, phase).split(list(self.counts))
        right = [int(each.argmin()) == a for each, a in zip(losses, self.answers, strict=True)]
        return sum(right) / len(right)


Benchmark = Text | Choices


def benchmark(rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, length: int) -> Benchmark:
    """Encode rows for scoring: rows with choices by accuracy, all others by perplexity."""
    encoded = encode(rows, tokenizer, min(length, _TEXT_LENGTH) if rows[0].text else length)
    if not rows[0].choices:
        return Text(encoded.examples, encoded.cut)
    options = [
        pair(row.prompt, choice, tokenizer, end=False) for row in rows for choice in row.choices
    ]
    return Choices(
        tuple(shorten(option, length) for option in options),
        counts=tuple(len(row.choices) for row in rows),
        answers=tuple(row.choices.index(row.completion) for row in rows),
        cut=encoded.cut,
    )


def mean_loss(
    model: PreTrainedModel, examples: Sequence[Example], monitor: Monitor, phase: str = "validate"
) -> float:
    """Compute the mean cross entropy, in nats per scored token, over all examples."""
    predicted = sum(len(example.tokens) - example.start for example in examples)
    return float(summed_losses(model, examples, monitor, phase).sum()) / max(1, predicted)


def perplexity(loss: float) -> float:
    """Turn a mean cross entropy in nats into a perplexity; infinite where it overflows."""
    return math.exp(loss) if loss < 700 else math.inf


def summed_losses(
    model: PreTrainedModel, examples: Sequence[Example], monitor: Monitor, phase: str
) -> Tensor:
    """Compute the cross entropy in nats of each example, summed over its scored tokens, (N,).

    Several workers share the batches, and all get the result.
    """
    longest = max(len(example.tokens) for example in examples)
    # of like length, so that little is padded; the longest first, so that memory runs out at once
    order = sorted(range(len(examples)), key=lambda i: -len(examples[i].tokens))
    work = batches([examples[i] for i in order], max(1, _BATCH_TOKENS // longest))
    sums = [torch.zeros(len(batch.tokens), dtype=torch.float64) for batch in work]
    turns = -(-len(work) // workers())
    tracker = monitor.track(phase, turns)
    with inference():
        for turn in range(turns):
            monitor.check()
            place = turn * workers() + rank()
            # all take as many turns, since they run sharded blocks together
            found = _summed(model, batch := work[min(place, len(work) - 1)])
            if place < len(work):
                sums[place] = found
            tracker.advance(tokens=batch.tokens.numel() * workers())
    result = torch.empty(len(examples), dtype=torch.float64)
    result[order] = total(torch.cat(sums))
    return result


def _summed(model: PreTrainedModel, batch: Batch) -> Tensor:
    moved = batch.to(model.device)
    hidden, scored = final_hidden(model, moved.tokens), moved.targets != IGNORED
    each = each_loss(model, hidden[scored], moved.targets[scored])
    rows = scored.nonzero()[:, 0]
    summed = torch.zeros(len(batch.tokens), device=each.device, dtype=torch.float64)
    return summed.index_add_(0, rows, each.double()).cpu()
