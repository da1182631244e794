"""Distillation: the emulator learns to match the blocks that it replaces."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from offsite.emulator import Compressed
from offsite.events import Monitor
from offsite.layers import (
    Batch,
    blocks,
    checkpoint_gradients,
    final_hidden,
    inference,
    lm_loss,
    run,
    total,
    trace,
    watching,
)
from offsite.training.train import Checkpoints, Plan, fit


@dataclass(frozen=True)
class Weights:
    """How much each part of the loss counts (Xiao et al. 2023, section 4.1: 1 and 30)."""

    lm: float = 1.0
    kd: float = 30.0


def distill(
    model: PreTrainedModel,
    emulator: Compressed,
    batch_at: Callable[[int], Batch],
    plan: Plan,
    weights: Weights,
    *,
    checkpoints: Checkpoints,
    monitor: Monitor,
    gradient_checkpointing: bool = False,
) -> None:
    """Train the emulator's middle blocks, in place; nothing else of it changes.

    Teacher and emulator read the same input, which is what the bottom blocks put out.
    """
    trained = own_middle(emulator)
    if gradient_checkpointing:
        checkpoint_gradients(emulator.model)

    def loss_of(batch: Batch) -> Tensor:
        return _loss(model, emulator, batch, weights)

    fit(
        (model, emulator.model),
        trained,
        batch_at,
        loss_of,
        plan,
        phase="distill",
        checkpoints=checkpoints,
        monitor=monitor,
    )


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
    model: PreTrainedModel,
    emulator: Compressed,
    batch: Batch,
    weights: Weights,
) -> Tensor:
    stack, middle = blocks(emulator.model), emulator.middle
    with watching(stack[middle.start - 1]) as below, watching(stack[middle.stop - 1]) as above:
        hidden = final_hidden(emulator.model, batch.tokens)
    with inference():
        calls = trace(model, batch.tokens).calls
        span = emulator.replaced
        target = run(blocks(model)[span], below[0], calls[span])
    loss = weights.kd * hidden_error(target, above[0], batch.mask)
    if weights.lm:
        loss = loss + weights.lm * lm_loss(emulator.model, batch, hidden)
    return loss


def hidden_error(target: Tensor, hidden: Tensor, mask: Tensor) -> Tensor:
    """Compute mean(((target - hidden) / rms(target))²) of hidden states, (B, T, D) each.

    Of a batch that is spread over workers it is this one's part: their sum is the error.

    Args:
        mask: (B, T), where there is a token.
    """
    target, hidden = target[mask].float(), hidden[mask].float()
    size = total(target.pow(2).sum()).clamp(min=torch.finfo(torch.float32).tiny)
    return (target - hidden).pow(2).sum() / size
