"""Scores of a model: perplexity of text, accuracy of choices."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from offsite.data import Example, Row, encode, ordered, pair, shorten
from offsite.events import Monitor
from offsite.layers import IGNORED, each_loss, final_hidden, inference

_BATCH_TOKENS = 2048
_TEXT_LENGTH = 512
"""Plain text is scored in blocks of this many tokens."""


@dataclass(frozen=True)
class Benchmark:
    """A set of examples that models are scored on, encoded once."""

    examples: tuple[Example, ...]
    groups: tuple[int, ...] = ()
    """How many choices each question has; empty: this is text."""
    answers: tuple[int, ...] = ()
    cut: int = 0
    """How many prompts were longer than the context."""

    @property
    def metric(self) -> str:
        """What `score` computes."""
        return "accuracy" if self.groups else "perplexity"


def benchmark(rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, length: int) -> Benchmark:
    """Encode rows for scoring: rows with choices by accuracy, all others by perplexity.

    Raises:
        DataError: there is nothing to score within `length` tokens.
    """
    encoded = encode(rows, tokenizer, min(length, _TEXT_LENGTH) if rows[0].text else length)
    if not rows[0].choices:
        return Benchmark(encoded.examples, cut=encoded.cut)
    options = [
        pair(row.prompt, choice, tokenizer, end=False) for row in rows for choice in row.choices
    ]
    return Benchmark(
        tuple(shorten(option, length) for option in options),
        groups=tuple(len(row.choices) for row in rows),
        answers=tuple(row.choices.index(row.completion) for row in rows),
        cut=encoded.cut,
    )


def score(model: PreTrainedModel, bench: Benchmark, monitor: Monitor, phase: str) -> float:
    """Compute the benchmark's metric of a model: perplexity (≥ 1), or accuracy (0 to 1).

    A choice counts as the model's answer if its tokens have the largest summed log-probability,
    which is `acc` of lm-evaluation-harness.
    """
    if not bench.groups:
        return perplexity(mean_loss(model, bench, monitor, phase))
    losses = summed_losses(model, bench.examples, monitor, phase)
    right, first = 0, 0
    for count, answer in zip(bench.groups, bench.answers, strict=True):
        right += int(losses[first : first + count].argmin()) == answer
        first += count
    return right / len(bench.groups)


def mean_loss(
    model: PreTrainedModel, bench: Benchmark, monitor: Monitor, phase: str = "validate"
) -> float:
    """Compute the mean cross entropy, in nats per scored token, over all examples."""
    predicted = sum(len(example.tokens) - example.start for example in bench.examples)
    return float(summed_losses(model, bench.examples, monitor, phase).sum()) / predicted


def perplexity(loss: float) -> float:
    """Turn a mean cross entropy in nats into a perplexity; infinite where it overflows."""
    return math.exp(loss) if loss < 700 else math.inf


def summed_losses(
    model: PreTrainedModel, examples: Sequence[Example], monitor: Monitor, phase: str
) -> Tensor:
    """Compute the cross entropy in nats of each example, summed over its scored tokens, (N,)."""
    longest = max(len(example.tokens) for example in examples)
    batch_size = max(1, _BATCH_TOKENS // longest)
    order = sorted(range(len(examples)), key=lambda i: -len(examples[i].tokens))
    batches = ordered(examples, batch_size)
    tracker = monitor.track(phase, len(batches))
    sums: list[Tensor] = []
    with inference():
        for batch in batches:
            monitor.check()
            moved = batch.to(model.device)
            hidden, scored = final_hidden(model, moved.tokens), moved.targets != IGNORED
            each = each_loss(model, hidden[scored], moved.targets[scored])
            rows = scored.nonzero()[:, 0]
            total = torch.zeros(len(batch.tokens), device=each.device, dtype=torch.float64)
            sums.append(total.index_add_(0, rows, each.double()).cpu())
            tracker.advance(tokens=batch.tokens.numel())
    result = torch.empty(len(examples), dtype=torch.float64)
    result[order] = torch.cat(sums)
    return result
