"""Runs a model on examples without training: the loss or another outcome of each, and scores."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from offsite.events import Monitor
from offsite.layers import Loaded, final_hidden, inference, rank, total, workers
from offsite.modality import Batch, Benchmark, Example

_BATCH_POSITIONS = 2048

Outcomes = Callable[[PreTrainedModel, Tensor, Batch], Tensor]
"""Measures each example of a batch, (B,), from what the head reads, (B, T, D)."""


def score(loaded: Loaded, benchmark: Benchmark, monitor: Monitor, phase: str) -> float:
    """Score a model: its perplexity (≥ 1) or its accuracy (0 to 1), as the benchmark says."""
    found = outcomes(loaded, benchmark.examples, benchmark.outcomes, monitor, phase)
    return benchmark.score(found)


def mean_loss(
    loaded: Loaded, examples: Sequence[Example], monitor: Monitor, phase: str = "validate"
) -> float:
    """Compute the mean loss, in nats per scored target, over all examples."""
    losses = outcomes(loaded, examples, loaded.modality.losses, monitor, phase)
    return float(losses.sum()) / max(1, sum(example.weight for example in examples))


def outcomes(
    loaded: Loaded, examples: Sequence[Example], measure: Outcomes, monitor: Monitor, phase: str
) -> Tensor:
    """Measure each example: its loss by `Modality.losses`, or what a benchmark asks for, (N,).

    Several workers share the batches, and all get the result, in the order of the examples.
    """
    longest = max(example.size for example in examples)
    # of like length, so that little is padded; the longest first, so that memory runs out at once
    order = sorted(range(len(examples)), key=lambda i: -examples[i].size)
    together = max(1, _BATCH_POSITIONS // longest)
    work = [order[i : i + together] for i in range(0, len(order), together)]
    found = [torch.zeros(len(batch), dtype=torch.float64) for batch in work]
    turns = -(-len(work) // workers())
    tracker = monitor.track(phase, turns)
    with inference():
        for turn in range(turns):
            monitor.check()
            place = turn * workers() + rank()
            # all take as many turns, since they run sharded blocks together
            chosen = [examples[i] for i in work[min(place, len(work) - 1)]]
            batch = loaded.modality.collate(chosen).to(loaded.model.device)
            measured = measure(loaded.model, final_hidden(loaded.model, batch.inputs), batch)
            if place < len(work):
                found[place] = measured.double().cpu()
            tracker.advance(units=batch.positions * workers(), unit=batch.unit)
    result = torch.empty(len(examples), dtype=torch.float64)
    result[order] = total(torch.cat(found))
    return result
