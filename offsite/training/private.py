"""Training with differential privacy (DP-SGD): the step, and the units that each step draws.

What is released is a function of noisy sums only: the tensors after the last step. No step is
chosen by validation, and no number depends on how many units or examples were drawn: sums are
divided by the expected number of units. The loss of a unit is the mean over its own targets, so
that it depends on no other unit.

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
from offsite.privacy.gradients import Sums, add_clipped, add_clipped_in_parts, zeros
from offsite.privacy.noise import gaussian, poisson_sample
from offsite.training.data import Collate, augmentation
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
    """`Batch.unit`."""
    amount: int
    """`Batch.amount` of this worker's units, without padding."""
    seed: str
    """Of the step's augmentation. An example's own is a function of it and of the example alone,
    as the bound on a unit's contribution asks for."""


class PoissonSamples:
    """Draws each unit independently, with the same probability in each step.

    The draw is secret, and another one each time: also when a run resumes. The augmentation is no
    secret: it follows from the job's seed.
    """

    def __init__(self, units: Sequence[Unit], collate: Collate, rate: float, seed: int) -> None:
        self._units, self._rate, self._seed = units, rate, seed
        self._kind = collate(units[0][:1])

    def __call__(self, step: int) -> Sample:
        """Draw the units of a step; all workers have to call, and get the same."""
        flags = torch.zeros(len(self._units))
        if leads():
            flags[poisson_sample(len(self._units), self._rate)] = 1
        places: list[int] = total(flags).nonzero()[:, 0].tolist()
        drawn = [self._units[place] for place in places]
        mine = [example for unit in drawn[rank() :: workers()] for example in unit]
        sizes = [example.size if self._kind.by_position else 1 for example in mine]
        return Sample(drawn, self._kind.unit, sum(sizes), augmentation(self._seed, step))


@dataclass(frozen=True)
class PrivateStep:
    """Follows the noisy mean of the clipped gradients of a sample's units."""

    mechanism: Mechanism
    max_grad_norm: float
    """Largest norm of a unit's gradient."""
    batch_size: int
    """Expected number of units in a step."""
    collate: Collate
    accumulate: int = 1
    """In how many parts as many examples are computed."""

    def __call__(self, training: Spread, optimizer: torch.optim.Optimizer, batch: Sample) -> float:
        """Make one step; returns the mean loss of the units, not a number if there are none."""
        sums = zeros(training.trained.values())
        loss = torch.zeros(1, dtype=torch.float64)
        for units in _passes(batch.units[rank() :: workers()], self._most):
            loss += self._add_clipped(sums, training, units, batch.seed).sum().cpu()
        # accounted for first: noise may never be used without
        training.kept[LEDGER] = spend(training.kept.get(LEDGER, ""), self.mechanism)
        for parameter, clipped in sums.items():
            noisy = total(self._noisy(clipped.double()))
            parameter.grad = (noisy / self.batch_size).to(parameter.dtype)
        optimizer.step()
        return float(total(loss)) / len(batch.units) if batch.units else math.nan

    @property
    def _most(self) -> int:
        """How many examples a worker computes at once."""
        return -(-self.batch_size // (workers() * self.accumulate))

    def _noisy(self, clipped: Tensor) -> Tensor:
        """Add the noise of all workers to the leading worker's sum."""
        if not leads():
            return clipped
        deviation = self.mechanism.noise_multiplier * self.max_grad_norm
        return clipped + gaussian(clipped.shape, deviation, clipped.device)

    def _add_clipped(
        self, sums: Sums, training: Spread, units: Sequence[Unit], seed: str
    ) -> Tensor:
        """Add the clipped gradients of the units of one pass; returns the loss of each."""
        if len(units[0]) > self._most:
            parts = self._parts(training, units[0], seed)
            return add_clipped_in_parts(sums, parts, self.max_grad_norm)
        batch = self._batch(training, [example for unit in units for example in unit], seed)
        losses = partial(_losses, training, batch, len(units))
        return add_clipped(sums, training.models, losses, self.max_grad_norm)

    def _parts(self, training: Spread, unit: Unit, seed: str) -> Iterator[Tensor]:
        """Compute the loss of one unit in parts."""
        weight = max(1, sum(example.weight for example in unit))
        for i in range(0, len(unit), self._most):
            batch = self._batch(training, unit[i : i + self._most], seed)
            with precision():
                loss = _summed(training, batch).sum() / weight
            yield loss

    def _batch(self, training: Spread, examples: Sequence[Example], seed: str) -> Batch:
        where = next(iter(training.trained.values())).device
        return self.collate(examples, seed).to(where)


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
