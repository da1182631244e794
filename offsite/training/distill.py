"""Distillation: the emulator learns to match the blocks that it replaces."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from offsite.emulator import Compressed
from offsite.layers import (
    Loaded,
    batch_loss,
    blocks,
    checkpoint_gradients,
    final_hidden,
    inference,
    run,
    total,
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

    def loss_of(batch: Batch) -> Tensor:
        return _loss(loaded, emulator, batch, weights)

    objective = Objective((loaded.model, emulator.model), trained, loss_of)
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


def _loss(
    loaded: Loaded,
    emulator: Compressed,
    batch: Batch,
    weights: Weights,
) -> Tensor:
    model, stack, middle = loaded.model, blocks(emulator.model), emulator.middle
    with watching(stack[middle.start - 1]) as below, watching(stack[middle.stop - 1]) as above:
        hidden = final_hidden(emulator.model, batch.inputs)
    with inference():
        calls = trace(model, batch.inputs).calls
        span = emulator.replaced
        target = run(blocks(model)[span], below[0], calls[span])
    loss = weights.kd * hidden_error(target, above[0], batch.mask)
    if weights.task:
        loss = loss + weights.task * batch_loss(emulator.model, loaded.modality, batch, hidden)
    return loss


def hidden_error(target: Tensor, hidden: Tensor, mask: Tensor) -> Tensor:
    """Compute mean(((target - hidden) / rms(target))²) of hidden states, (B, T, D) each.

    Of a batch that is spread over workers it is this one's part: their sum is the error.

    Args:
        mask: (B, T), where a hidden state stands for input.
    """
    target, hidden = target[mask].float(), hidden[mask].float()
    size = total(target.pow(2).sum()).clamp(min=torch.finfo(torch.float32).tiny)
    return (target - hidden).pow(2).sum() / size
