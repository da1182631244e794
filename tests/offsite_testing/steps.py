"""A training step that is not the plain one: the gradient of each example is clipped."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from offsite.layers import precision, total
from offsite.modality import Batch
from offsite.training.parallel import Spread
from offsite.training.step import checked


@dataclass(frozen=True)
class ClippedEach:
    """Sums the gradient of each example, clipped to a norm, and divides by the batch's weight.

    What DP-SGD (Abadi et al. 2016, arXiv 1607.00133) does, without the noise. Without a bound it
    is the plain step but for rounding.
    """

    bound: float = math.inf

    def __call__(self, training: Spread, optimizer: torch.optim.Optimizer, batch: Batch) -> float:
        """Make one step on a batch, whose examples this worker takes one at a time."""
        assert training.losses_of is not None
        parameters, mine = list(training.trained.values()), training.here(batch)
        sums = [torch.zeros_like(each) for each in parameters]
        weight, loss = total(batch.weights.sum()).clamp(min=1), torch.zeros((), dtype=torch.float64)
        for index in range(len(mine)):
            with precision():
                one = training.losses_of(mine.part(index, len(mine))).sum()
            self._add(sums, torch.autograd.grad(one, parameters))
            loss += one.detach().cpu() / weight
        value = checked(loss)
        for parameter, each in zip(parameters, sums, strict=True):
            parameter.grad = total(each) / weight.to(each.device)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        return value

    def _add(self, sums: list[Tensor], gradients: tuple[Tensor, ...]) -> None:
        norm = torch.stack([each.norm() for each in gradients]).norm()
        scale = (self.bound / norm.clamp(min=1e-12)).clamp(max=1.0)
        for kept, each in zip(sums, gradients, strict=True):
            kept += scale * each
