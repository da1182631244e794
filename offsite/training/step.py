"""One optimizer step on one batch, which another may replace.

A step that clips the gradient of each example and adds noise, as differential privacy asks for, is
another `TrainingStep` in a `Run`; the loop, its checkpoints and its validations stay as they are.
"""

import math
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from offsite.errors import DataError
from offsite.layers import precision, total, workers
from offsite.modality import Batch
from offsite.training.parallel import Spread

_GRADIENT_NORM = 1.0


class Countable(Protocol):
    """What one step works on: a `Batch`, or what another step takes instead."""

    @property
    def amount(self) -> int:
        """How much progress counts of this worker: `Batch.amount`."""
        ...

    @property
    def unit(self) -> str:
        """What is counted, in the plural."""
        ...


B = TypeVar("B", bound=Countable, contravariant=True)


class TrainingStep(Protocol[B]):
    """Changes the parameters of a training once, for one batch."""

    def __call__(self, training: Spread, optimizer: torch.optim.Optimizer, batch: B) -> float:
        """Make one step; all workers call it, each with its own part of a batch.

        Learning rate and random numbers are set for this step already. An interrupted run goes on
        to the same bytes if the step keeps what changes between two calls in `training.kept`, and
        draws no random numbers of its own.

        Returns:
            the loss of the batch, the same in all workers.

        Raises:
            DataError: the loss is not finite; no parameter was changed.
        """
        ...


def plain_step(training: Spread, optimizer: torch.optim.Optimizer, batch: Batch) -> float:
    """Follow the gradient of the mean loss, clipped to a norm of 1."""
    optimizer.zero_grad(set_to_none=True)
    with precision():
        loss = training.loss_of(training.here(batch))
    value = checked(loss)
    (loss * workers()).backward()  # what is averaged over the workers is to be a sum
    nn.utils.clip_grad_norm_(training.trained.values(), _GRADIENT_NORM)
    optimizer.step()
    return value


def checked(loss: Tensor) -> float:
    """Sum a loss over all workers, and check it.

    Raises:
        DataError: it is not finite.
    """
    value = float(total(loss.detach()))
    if not math.isfinite(value):
        raise DataError(f"the loss became {value}; lower the learning rate or look at the data")
    return value
