"""The gradients of units, of one module's parameters, by the formulas of Opacus.

Shapes: U units of P positions; A (U, P, in) is what a module read, and B (U, P, out) the gradient
of what it put out. A linear weight's gradient is BᵀA.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

Sums = dict[nn.Parameter, Tensor]
"""The sum of clipped gradients of each trained parameter, in its own shape, in float32."""
Gradients = Mapping[nn.Parameter, Tensor]
"""The gradients of a module's parameters, (U, …) each."""


@dataclass(frozen=True)
class Formula:
    """How a kind of module computes the gradients of its parameters."""

    compute: Callable[[Tensor, Tensor], Gradients]
    """From A and B."""
    is_linear: bool
    """Whether a gradient may be larger than A and B."""


class Found(Protocol):
    """The gradients of U units of one module's parameters."""

    def norms(self) -> Tensor:
        """Compute the norm of each unit's gradient, (U,) in float64."""
        ...

    def add_to(self, sums: Sums, weights: Tensor) -> None:
        """Add the units' gradients, each with its weight, (U,); with weight 0 whatever it is."""
        ...


def formula_of(module: nn.Module) -> Formula:
    """Choose the formula of a module: Opacus' own, or torch's `vmap` of its gradient."""
    from opacus.grad_sample import GradSampleModule
    from opacus.grad_sample.functorch import prepare_layer
    from opacus.grad_sample.linear import compute_linear_grad_sample

    if isinstance(module, Conv1D):
        return Formula(partial(_conv1d, module, compute_linear_grad_sample), is_linear=True)
    known = GradSampleModule.GRAD_SAMPLERS.get(type(module))
    if known is not None:
        linear = isinstance(module, nn.Linear)
        return Formula(lambda a, b: known(module, [a], b), is_linear=linear)
    prepare_layer(module)
    by_unit: Any = module.ft_compute_sample_grad
    del module.ft_compute_sample_grad
    return Formula(partial(_by_vmap, module, by_unit), is_linear=False)


def found(formula: Formula, a: Tensor, b: Tensor) -> Found:
    """Store the gradients, or A and B: what takes less memory."""
    size, factors = a.shape[2] * b.shape[2], a.shape[1] * (a.shape[2] + b.shape[2])
    if formula.is_linear and size > factors:
        return _Computed(formula, a, b)
    return _Stored(formula.compute(a, b))


@dataclass(frozen=True)
class _Stored:
    gradients: Gradients

    def norms(self) -> Tensor:
        each = [g.flatten(1).norm(dim=1, dtype=torch.float64) for g in self.gradients.values()]
        result: Tensor = torch.stack(each).norm(dim=0)
        return result

    def add_to(self, sums: Sums, weights: Tensor) -> None:
        for parameter, each in self.gradients.items():
            each[weights == 0] = 0
            sums[parameter] += torch.tensordot(weights, each, dims=1)


@dataclass(frozen=True)
class _Computed:
    formula: Formula
    a: Tensor
    b: Tensor

    def norms(self) -> Tensor:
        return torch.cat([self._of(unit).norms() for unit in range(len(self.a))])

    def add_to(self, sums: Sums, weights: Tensor) -> None:
        for unit in range(len(self.a)):
            self._of(unit).add_to(sums, weights[unit : unit + 1])

    def _of(self, unit: int) -> _Stored:
        one = slice(unit, unit + 1)
        return _Stored(self.formula.compute(self.a[one], self.b[one]))


def _conv1d(module: Conv1D, linear: Callable[..., Gradients], a: Tensor, b: Tensor) -> Gradients:
    """Compute the gradients of GPT-2's linear layer, whose weight is stored (in, out)."""
    gradients = dict(linear(module, [a], b))
    gradients[module.weight] = gradients[module.weight].transpose(1, 2)
    return gradients


def _by_vmap(
    module: nn.Module, by_unit: Callable[..., tuple[Tensor, ...]], a: Tensor, b: Tensor
) -> Gradients:
    parameters = tuple(module.parameters())
    return dict(zip(parameters, by_unit(parameters, a, b), strict=True))
