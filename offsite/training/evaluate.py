"""Runs a model on examples without training: the loss or another outcome of each, and scores."""

from collections.abc import Callable, Iterator, Sequence
from itertools import tee

import torch
from torch import Tensor
from transformers import PreTrainedModel

from offsite.events import Monitor
from offsite.layers import Loaded, final_states, inference, rank, total, workers
from offsite.modality import Batch, Benchmark, Example, Score

_BATCH_POSITIONS = 2048

Outcomes = Callable[[PreTrainedModel, Tensor, Batch], Tensor]
"""Measures each example of a batch, (B,) or (B, K), from what the head reads, (B, T, D)."""


def score(loaded: Loaded, benchmark: Benchmark, monitor: Monitor, phase: str) -> Sequence[Score]:
    """Score a model by the metrics of a benchmark; logs the details."""
    return benchmark.scores(examined(loaded, benchmark, monitor, phase))


def examined(loaded: Loaded, benchmark: Benchmark, monitor: Monitor, phase: str) -> Tensor:
    """Compute the outcomes of a model on a benchmark; logs the details."""
    found = outcomes(loaded, benchmark.examples, benchmark.outcomes, monitor, phase)
    for line in benchmark.details(found):
        monitor.log(f"{phase}: {line}")
    return found


def mean_loss(
    loaded: Loaded, examples: Sequence[Example], monitor: Monitor, phase: str = "validate"
) -> float:
    """Compute the mean loss, in nats per scored target, over all examples."""
    losses = outcomes(loaded, examples, loaded.modality.losses, monitor, phase)
    return float(losses.sum()) / max(1, sum(example.weight for example in examples))


def outcomes(
    loaded: Loaded, examples: Sequence[Example], measure: Outcomes, monitor: Monitor, phase: str
) -> Tensor:
    """Measure each example, (N,) or (N, K): its loss, or what a benchmark asks for.

    Several workers share the batches, and all get the result, in the order of the examples.
    """
    longest = max(example.size for example in examples)
    # of like length, so that little is padded; the longest first, so that memory runs out at once
    order = sorted(range(len(examples)), key=lambda i: -examples[i].size)
    together = max(1, _BATCH_POSITIONS // longest)
    work = [order[i : i + together] for i in range(0, len(order), together)]
    turns = -(-len(work) // workers())
    # all take as many turns, since they run sharded blocks together
    places = [turn * workers() + rank() for turn in range(turns)]
    tracker = monitor.track(phase, turns)
    read, used = tee(_batches(loaded, examples, [work[min(p, len(work) - 1)] for p in places]))
    found: dict[int, Tensor] = {}
    with inference():
        hidden = final_states(loaded.model, (batch.inputs for batch in read), monitor.check)
        for place, batch, state in zip(places, used, hidden, strict=True):
            measured = measure(loaded.model, state, batch).double().cpu()
            found[place] = measured
            tracker.advance(units=batch.amount * workers(), unit=batch.unit)
    result = torch.zeros(len(examples), *measured.shape[1:], dtype=torch.float64)
    for place, each in found.items():
        if place < len(work):
            result[work[place]] = each
    return total(result)


def _batches(
    loaded: Loaded, examples: Sequence[Example], chosen: Sequence[Sequence[int]]
) -> Iterator[Batch]:
    for each in chosen:
        batch = loaded.modality.collate([examples[i] for i in each])
        yield batch.to(loaded.model.device)
