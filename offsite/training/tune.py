"""Tuning: the data owner's adapter learns private data in the emulator."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from offsite.adapter import METHODS, Method, heads
from offsite.layers import Loaded, batch_loss, checkpoint_gradients, example_losses
from offsite.modality import Batch, Example
from offsite.training.evaluate import mean_loss
from offsite.training.parallel import Objective
from offsite.training.run import Run
from offsite.training.train import fit


@dataclass(frozen=True)
class Adapter:
    """What is trained."""

    method: str
    """A key of `offsite.adapter.METHODS`."""
    rank: int
    places: Sequence[int]
    """The blocks of the emulator that it is in."""


def tune(
    loaded: Loaded,
    adapter: Adapter,
    batch_at: Callable[[int], Batch],
    validation: Sequence[Example],
    run: Run,
) -> dict[str, Tensor]:
    """Train an adapter in some blocks of a model; give its changes, as they are sent.

    The heads of the model's family, if it has any, are trained with it. The model keeps the adapter
    of the validated step with the smallest validation loss *in this model*. The trainer cannot
    measure the adapter in the full model.

    Args:
        batch_at: the batch of a step.
        validation: examples of the model's modality.
    """
    model = loaded.model
    form: Method = METHODS[adapter.method]
    attached = form.attach(model, adapter.places, rank=adapter.rank, seed=run.plan.seed)
    if run.plan.gradient_checkpointing:
        checkpoint_gradients(model)
    head = heads.attach(model)
    trained = {**attached.trained, **head.trained}
    objective = Objective(
        (model,),
        trained,
        partial(batch_loss, model, loaded.modality),
        partial(example_losses, model, loaded.modality),
    )
    state = fit(
        objective,
        batch_at,
        run,
        phase="tune",
        validate=lambda: mean_loss(loaded, validation, run.monitor),
    )
    with torch.no_grad():
        for name, value in state.best.items():
            trained[name].copy_(value)
    return attached.changes() | head.changes()
