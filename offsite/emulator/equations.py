"""The least squares problem of one projection that healing refits."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

_RIDGE = 0.3
"""How strongly a weight is held to what it was, relative to the mean square of its input."""


_LEAST_SCALE = 1e-3
"""Of the largest scale of a layer: the least by which a goal is divided."""

_STRIPS, _LEAST_STRIP = 8, 192
"""Of a matrix of which one triangle is computed: how many strips at most, and rows of one."""

Seen = tuple[Tensor, Tensor]
"""What a projection read, (…, in), and put out, (…, out)."""


@dataclass(frozen=True)
class Solution:
    """A projection as it was refitted."""

    weight: Tensor
    """As it is stored."""
    change: Tensor
    """How it differs from the weight before, (in, out)."""
    scale: Tensor | None
    """(D,), what the block multiplies the projection's output by."""

    def added(self, inputs: Tensor) -> Tensor:
        """Compute what the block puts out more, (N, D).

        Args:
            inputs: what the projection reads, (N, in).
        """
        with torch.autocast(inputs.device.type, enabled=False):
            added = inputs.float() @ self.change
        return added if self.scale is None else added * self.scale


class NormalEquations:
    """The ridge least squares problem of one projection, y ≈ a W + b.

    Products are taken in float32, whatever precision the model runs at, and summed up in float64.

    What is fitted is W; the bias stays, and the solution is drawn towards the W there was. If the
    block scales what the projection puts out, by a number for each feature, the goal is divided by
    it. A feature whose number is almost zero stays as it is.

    Args:
        projection: the module whose weight is W.
        transposed: whether W is stored as (in, out).
        scale: (D,), what the block multiplies the output by.
    """

    def __init__(
        self, projection: nn.Module, transposed: bool, scale: Tensor | None = None
    ) -> None:
        self._weight = projection.get_parameter("weight")
        self._bias = dict(projection.named_parameters()).get("bias")
        self._transposed, self._scale = transposed, scale
        inputs, outputs = self._before().shape
        # by columns, as LAPACK factors a matrix in place
        self._gram = self._before().new_zeros(inputs, inputs).T
        self._moment = self._before().new_zeros(inputs, outputs)

    def _before(self) -> Tensor:
        """The weight as it is, (in, out)."""
        return (self._weight if self._transposed else self._weight.T).double()

    def add(self, seen: Seen, wanted: Tensor, output: Tensor, mask: Tensor) -> None:
        """Take the equations of one batch.

        Args:
            seen: what the projection read, (…, in), and put out, (…, out), B T rows each.
            wanted: what its block should put out, (B, T, D).
            output: what its block put out: the residual stream plus the (scaled) output of the
                projection.
            mask: (B, T), where a hidden state stands for input.
        """
        inputs, projected, target, output = (
            part.flatten(0, -2)[mask.flatten()].float() for part in (*seen, wanted, output)
        )
        size = target.pow(2).mean(dim=1, keepdim=True).sqrt().clamp_min(1e-6)
        goal = projected + self._unscaled(target - output)
        goal = goal if self._bias is None else goal - self._bias
        inputs, goal = inputs / size, goal / size
        with torch.autocast(inputs.device.type, enabled=False):
            self._add_gram(inputs)
            self._moment += inputs.T @ goal

    def _add_gram(self, inputs: Tensor) -> None:
        """Add up the lower triangle, by strips of rows: LAPACK reads no more of it."""
        width = max(_LEAST_STRIP, -(-len(self._gram) // _STRIPS))
        for start in range(0, len(self._gram), width):
            stop = start + width
            strip = inputs[:, :stop].T @ inputs[:, start:stop]
            self._gram[start:stop, :stop] += strip.T

    def _unscaled(self, change: Tensor) -> Tensor:
        """Compute by how much the projection's output must change to change the block's so."""
        if self._scale is None:
            return change
        size = self._scale.abs()
        reached = size > _LEAST_SCALE * size.max()
        return torch.where(reached, change / self._scale.where(reached, torch.ones_like(size)), 0)

    def solution(self) -> Solution:
        """Compute the weight that solves the problem, once: it uses the equations up."""
        gram, moment = self._gram, self._moment
        del self._gram, self._moment
        ridge = _RIDGE * gram.diagonal().mean()
        gram.diagonal().add_(ridge)
        moment += ridge * self._before()
        torch.linalg.cholesky(gram, out=gram)
        fitted = torch.cholesky_solve(moment, gram)
        del gram, moment
        change = (fitted - self._before()).float()
        wanted = fitted if self._transposed else fitted.T
        return Solution(wanted.to(self._weight.dtype).contiguous(), change, self._scale)
