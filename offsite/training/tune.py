"""Tuning: the data owner's adapter learns private data in the emulator."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from transformers import PreTrainedModel

from offsite.adapter import METHODS, Method
from offsite.events import Monitor
from offsite.layers import Batch, checkpoint_gradients, lm_loss
from offsite.training.data import Example
from offsite.training.evaluate import mean_loss
from offsite.training.train import Checkpoints, Plan, fit


def tune(
    model: PreTrainedModel,
    places: Sequence[int],
    batch_at: Callable[[int], Batch],
    plan: Plan,
    *,
    method: str,
    rank: int,
    validation: Sequence[Example],
    checkpoints: Checkpoints,
    monitor: Monitor,
    gradient_checkpointing: bool = False,
) -> dict[str, Tensor]:
    """Train an adapter in some blocks of a model; give its changes, as they are sent.

    The model is left with the adapter in it. Of all steps that were validated it is the one with
    the smallest validation loss *in this model*: how the adapter does in the full model, its
    trainer cannot see.
    """
    form: Method = METHODS[method]
    attached = form.attach(model, places, rank=rank, seed=plan.seed)
    if gradient_checkpointing:
        checkpoint_gradients(model)

    state = fit(
        (model,),
        attached.trained,
        batch_at,
        partial(lm_loss, model),
        plan,
        phase="tune",
        checkpoints=checkpoints,
        monitor=monitor,
        validate=lambda: mean_loss(model, validation, monitor),
    )
    with torch.no_grad():
        for name, value in state.best.items():
            attached.trained[name].copy_(value)
    return attached.changes()
