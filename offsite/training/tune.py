"""Tuning: the data owner's adapter learns private data in the emulator."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from offsite.adapter import METHODS, Method, heads
from offsite.errors import InputError
from offsite.families import Targets
from offsite.layers import Loaded, batch_loss, checkpoint_gradients, example_losses
from offsite.modality import Example
from offsite.privacy.budget import steps_of
from offsite.training.checkpoints import TrainingState
from offsite.training.evaluate import mean_loss
from offsite.training.parallel import Objective
from offsite.training.private import LEDGER, Sample
from offsite.training.run import Run
from offsite.training.step import Countable
from offsite.training.train import fit


@dataclass(frozen=True)
class Adapter:
    """What is trained."""

    method: str
    """A key of `offsite.adapter.METHODS`."""
    rank: int
    places: Sequence[int]
    """The blocks of the emulator that it is in."""
    new_head: bool = False
    """Whether it brings the model's head."""
    targets: Targets = "All"
    """The linear modules of the blocks that LoRA adapts."""


def tune(
    loaded: Loaded,
    adapter: Adapter,
    batch_at: Callable[[int], Countable],
    validation: Sequence[Example],
    run: Run,
) -> dict[str, Tensor]:
    """Train an adapter in some blocks of a model; give its changes, as they are sent.

    The heads of the model's family, if it has any, are trained with it. The model keeps the adapter
    of the validated step with the smallest validation loss *in this model*. The trainer cannot
    measure the adapter in the full model.

    Args:
        batch_at: this worker's part of the batch of a step.
        validation: examples of the model's modality.
    """

    def validate() -> float:
        return mean_loss(loaded, validation, run.monitor)

    return _tuned(loaded, adapter, batch_at, run, validate)[0]


def tune_privately(
    loaded: Loaded, adapter: Adapter, sample_at: Callable[[int], Sample], run: Run
) -> tuple[dict[str, Tensor], str]:
    """Train an adapter with differential privacy, whose step is the `PrivateStep` of the run.

    The adapter of the last step is kept. A choice by private data would reveal some of it, and no
    accountant counts that.

    Args:
        sample_at: the units of a step: `PoissonSamples`.

    Returns:
        The changes, as they are sent, and the accountant's ledger of all steps.

    Raises:
        InputError: a checkpoint does not account for all of its steps.
    """
    changes, state = _tuned(loaded, adapter, sample_at, run)
    ledger = state.kept.get(LEDGER, "")
    if steps_of(ledger) != state.step:
        raise InputError(
            f"the checkpoint {run.checkpoints} does not account for the privacy of all its "
            "steps; delete it to begin anew"
        )
    return changes, ledger


def _tuned(
    loaded: Loaded,
    adapter: Adapter,
    batch_at: Callable[[int], Countable],
    run: Run,
    validate: Callable[[], float] | None = None,
) -> tuple[dict[str, Tensor], TrainingState]:
    model = loaded.model
    form: Method = METHODS[adapter.method]
    attached = form.attach(
        model, adapter.places, rank=adapter.rank, seed=run.plan.seed, targets=adapter.targets
    )
    if run.plan.gradient_checkpointing:
        checkpoint_gradients(model)
    head = heads.attach(model, new=adapter.new_head)
    trained = {**attached.trained, **head.trained}
    objective = Objective(
        (model,),
        trained,
        partial(batch_loss, model, loaded.modality),
        losses_of=partial(example_losses, model, loaded.modality),
    )
    state = fit(objective, batch_at, run, phase="tune", validate=validate)
    return attached.changes() | head.changes(), state
