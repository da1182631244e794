"""Distillation: the emulator learns to match the blocks that it replaces."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from offsite.emulator import Compressed
from offsite.layers import (
    Loaded,
    batch_loss,
    blocks,
    checkpoint_gradients,
    final_hidden,
    inference,
    resuming,
    run,
    trace,
    watching,
)
from offsite.modality import Batch
from offsite.training.parallel import Objective
from offsite.training.run import Run
from offsite.training.train import fit


@dataclass(frozen=True)
class Weights:
    """How much each part of the loss counts."""

    task: float
    """The loss of the modality: of text, the language-model loss."""
    kd: float
    """The error of the hidden states above the middle."""


def distill(
    loaded: Loaded,
    emulator: Compressed,
    batch_at: Callable[[int], Batch],
    weights: Weights,
    run: Run,
) -> None:
    """Train the emulator's middle blocks, in place; nothing else of it changes.

    Teacher and emulator read the same input, which is what the bottom blocks put out.

    Args:
        loaded: the full model, the teacher.
        batch_at: this worker's part of the batch of a step.
    """
    trained = own_middle(emulator)
    if run.plan.gradient_checkpointing:
        checkpoint_gradients(emulator.model)

    objective = Objective(
        (loaded.model, emulator.model),
        trained,
        partial(_loss, loaded, emulator, weights),
        partial(_taught, loaded.model, emulator),
    )
    fit(objective, batch_at, run, phase="distill")


def own_middle(emulator: Compressed) -> dict[str, nn.Parameter]:
    """Give the emulator's middle blocks float32 tensors of their own, and make them trainable."""
    trained: dict[str, nn.Parameter] = {}
    for place in emulator.middle:
        block = blocks(emulator.model)[place]
        block.requires_grad_(True)
        for name, parameter in block.named_parameters():
            parameter.data = parameter.detach().to(torch.float32, copy=True)
            trained[f"blocks.{place}.{name}"] = parameter
    return trained


@dataclass(frozen=True)
class _Taught:
    """A part of a batch, and what frozen blocks make of it, (B, T, D) each."""

    batch: Batch
    below: Tensor
    """What the emulator's middle reads."""
    target: Tensor
    """What the teacher puts out above its middle."""


def _taught(model: PreTrainedModel, emulator: Compressed, batch: Batch) -> tuple[_Taught, Tensor]:
    """Run the blocks that are not trained; the size is (scored targets, norm² of the target)."""
    with inference():
        traced, start, span = trace(model, batch.inputs), emulator.middle.start, emulator.replaced
        bottom = blocks(emulator.model)[:start]
        below = run(bottom, traced.hidden, traced.calls[:start])
        target = run(blocks(model)[span], below, traced.calls[span])
        size = target[batch.mask].float().pow(2).sum()
        return _Taught(batch, below, target), torch.stack([batch.weights.sum(), size])


def _loss(
    loaded: Loaded, emulator: Compressed, weights: Weights, part: _Taught, size: Tensor
) -> Tensor:
    model, batch, middle = emulator.model, part.batch, emulator.middle
    with (
        resuming(model, middle.start, part.below),
        watching(blocks(model)[middle.stop - 1]) as above,
    ):
        hidden = final_hidden(model, batch.inputs)
    count, norm = size
    loss = weights.kd * hidden_error(part.target, above[0], batch.mask, norm)
    if weights.task:
        task = batch_loss(model, loaded.modality, batch, count, hidden)
        loss = loss + weights.task * task
    return loss


def hidden_error(target: Tensor, hidden: Tensor, mask: Tensor, norm: Tensor) -> Tensor:
    """Compute mean(((target - hidden) / rms(target))²) of hidden states, (B, T, D) each.

    Of a batch that is spread over workers it is this one's part: their sum is the error.

    Args:
        mask: (B, T), where a hidden state stands for input.
        norm: the sum of the squares of the target, over all parts of the batch.
    """
    target, hidden = target[mask].float(), hidden[mask].float()
    size = norm.clamp(min=torch.finfo(torch.float32).tiny)
    return (target - hidden).pow(2).sum() / size
