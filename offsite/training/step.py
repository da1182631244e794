"""One optimizer step on one batch, which another may replace.

A step that clips the gradient of each example and adds noise, as differential privacy asks for, is
another `TrainingStep` in a `Run`; the loop, its checkpoints and its validations stay as they are.
"""

import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
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


@dataclass(frozen=True)
class PlainStep:
    """Follows the gradient of the mean loss, clipped to a norm of 1."""

    accumulate: int = 1
    """In how many parts, one after the other, a batch is computed."""

    def __call__(self, training: Spread, optimizer: torch.optim.Optimizer, batch: Batch) -> float:
        """Make one step; the parts of a batch have the gradient of the whole but for rounding."""
        optimizer.zero_grad(set_to_none=True)
        shares = list(self._shares(training, training.here(batch)))
        value = checked(torch.stack(shares).sum())
        nn.utils.clip_grad_norm_(training.trained.values(), _GRADIENT_NORM)
        optimizer.step()
        return value

    def _shares(self, training: Spread, batch: Batch) -> Iterator[Tensor]:
        """Add up the gradient part by part; gives the share of each in the loss."""
        parts = [batch.part(place, self.accumulate) for place in range(self.accumulate)]
        with precision():
            prepared = [training.prepare(part) for part in parts]
        size = total(torch.stack([each for _, each in prepared]).sum(0))
        for place, (part, _) in enumerate(prepared, 1):
            with training.alone() if place < self.accumulate else nullcontext():
                with precision():
                    share = training.loss_of(part, size)
                # what is averaged over the workers is to be a sum
                (share * workers()).backward()
            yield share.detach()


plain_step = PlainStep()
"""Computes a batch at once."""


def checked(loss: Tensor) -> float:
    """Sum a loss over all workers, and check it.

    Raises:
        DataError: it is not finite.
    """
    value = float(total(loss.detach()))
    if not math.isfinite(value):
        raise DataError(f"the loss became {value}; lower the learning rate or look at the data")
    return value
