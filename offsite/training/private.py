"""Training with differential privacy (DP-SGD): the step, and the units that each step draws.

What is released is a function of noisy sums only: the tensors after the last step. No step is
chosen by validation, and no number depends on how many units or tokens were drawn: sums are divided
by the expected number of units. The loss of a unit is the mean over its own targets, so that it
depends on no other unit.

Several workers clip the gradients of different units. The leading worker draws the units and the
noise, once for all of them. The job's seed decides neither.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from offsite.layers import leads, precision, rank, total, workers
from offsite.modality import Batch, Example
from offsite.privacy.budget import Mechanism, spend
from offsite.privacy.gradients import Sums, clipped_sums, clipped_sums_of_one
from offsite.privacy.noise import gaussian, poisson_sample
from offsite.training.data import Collate
from offsite.training.parallel import Spread

LEDGER = "privacy"
"""Under which name `Spread.kept` holds the accountant's state."""

Unit = Sequence[Example]
"""The examples of one unit, which are clipped as one."""


@dataclass(frozen=True)
class Sample:
    """The units of one step; maybe none."""

    units: Sequence[Unit]
    unit: str
    """What one position is: `Batch.unit`."""

    @property
    def positions(self) -> int:
        """Count the positions, without padding."""
        return sum(example.size for unit in self.units for example in unit)


class PoissonSamples:
    """Draws each unit independently, with the same probability in each step.

    The draw is secret, and another one each time: also when a run resumes.
    """

    def __init__(self, units: Sequence[Unit], collate: Collate, rate: float) -> None:
        self._units, self._rate = units, rate
        self._unit = collate(units[0][:1]).unit

    def __call__(self, step: int) -> Sample:
        """Draw the units of a step; all workers have to call, and get the same."""
        drawn = torch.zeros(len(self._units))
        if leads():
            drawn[poisson_sample(len(self._units), self._rate)] = 1
        places: list[int] = total(drawn).nonzero()[:, 0].tolist()
        return Sample([self._units[place] for place in places], self._unit)


@dataclass(frozen=True)
class PrivateStep:
    """Follows the noisy mean of the clipped gradients of a sample's units."""

    mechanism: Mechanism
    max_grad_norm: float
    """Largest norm of a unit's gradient."""
    batch_size: int
    """Expected number of units in a step; also how many examples are computed at once."""
    collate: Collate

    def __call__(self, training: Spread, optimizer: torch.optim.Optimizer, batch: Sample) -> float:
        """Make one step; returns the mean loss of the units, not a number if there are none."""
        parameters = list(training.trained.values())
        sums = {each: torch.zeros_like(each, dtype=torch.float64) for each in parameters}
        loss = torch.zeros(1, dtype=torch.float64)
        for clipped, losses in self._clipped(training, batch.units[rank() :: workers()]):
            for parameter, value in clipped.items():
                sums[parameter] += value
            loss += losses.sum().cpu()
        # accounted for first: noise may never be used without
        training.kept[LEDGER] = spend(training.kept.get(LEDGER, ""), self.mechanism)
        for parameter, value in sums.items():
            parameter.grad = (total(self._noisy(value)) / self.batch_size).to(parameter.dtype)
        optimizer.step()
        return float(total(loss)) / len(batch.units) if batch.units else math.nan

    def _noisy(self, clipped: Tensor) -> Tensor:
        """Add the noise of all workers to the leading worker's sum."""
        if not leads():
            return clipped
        deviation = self.mechanism.noise_multiplier * self.max_grad_norm
        return clipped + gaussian(clipped.shape, deviation, clipped.device)

    def _clipped(self, training: Spread, units: Sequence[Unit]) -> Iterator[tuple[Sums, Tensor]]:
        """Sum the clipped gradients of units, some of them at a time."""
        most = -(-self.batch_size // workers())
        parameters = list(training.trained.values())
        for some in _passes(units, most):
            if len(some[0]) > most:
                parts = self._parts(training, some[0], most)
                yield clipped_sums_of_one(parameters, parts, self.max_grad_norm)
            else:
                batch = self._batch(training, [example for unit in some for example in unit])
                losses = partial(_losses, training, batch, len(some))
                yield clipped_sums(training.models, parameters, losses, self.max_grad_norm)

    def _parts(self, training: Spread, unit: Unit, most: int) -> Iterator[Tensor]:
        """Compute the loss of one unit in parts."""
        weight = max(1, sum(example.weight for example in unit))
        for i in range(0, len(unit), most):
            with precision():
                yield _summed(training, self._batch(training, unit[i : i + most])).sum() / weight

    def _batch(self, training: Spread, examples: Sequence[Example]) -> Batch:
        return self.collate(examples).to(next(iter(training.trained.values())).device)


def _passes(units: Sequence[Unit], most: int) -> Iterator[list[Unit]]:
    """Group units of as many examples each, and of like length: `most` examples, or one unit."""
    waiting: list[Unit] = []
    for unit in sorted(units, key=lambda unit: (len(unit), max(each.size for each in unit))):
        full = len(waiting) + 1 > max(1, most // len(unit))
        if waiting and (full or len(waiting[0]) != len(unit)):
            yield waiting
            waiting = []
        waiting.append(unit)
    if waiting:
        yield waiting


def _losses(training: Spread, batch: Batch, units: int) -> Tensor:
    """Compute the mean loss of each unit over its own targets, (units,)."""
    with precision():
        summed = _summed(training, batch).reshape(units, -1).sum(1)
    return summed / batch.weights.reshape(units, -1).sum(1).clamp(min=1)


def _summed(training: Spread, batch: Batch) -> Tensor:
    if training.losses_of is None:
        raise TypeError("the losses of single examples are not known under FSDP")
    return training.losses_of(batch)
