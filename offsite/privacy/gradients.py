"""The sum of the clipped gradients of several units, from one backward pass.

This is DP-SGD's *fast gradient clipping*. The gradients of all units are known one module at a
time. A large one is never stored: it is computed twice, for its norm and for the sum. What no
module sees, such as FSDP's shards of a parameter, has no such gradient.

Norm and sum are taken from the same numbers, in float32. So no unit contributes more than the
bound, whatever the precision of the model, and whatever a hostile emulator computes. Ghost
clipping, which takes the norm of BᵀA from AAᵀ and BBᵀ, does not have this property: where large
gradients of two positions cancel, rounding hides what is left, and the unit is not clipped.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from offsite.errors import ModelError
from offsite.privacy.modules import Formula, Found, Sums, formula_of, found

__all__ = ["Sums", "add_clipped", "add_clipped_in_parts", "zeros"]


def zeros(trained: Iterable[nn.Parameter]) -> Sums:
    """Make the sums of no gradients."""
    return {each: torch.zeros_like(each, dtype=torch.float32) for each in trained}


def add_clipped(
    sums: Sums, models: Sequence[nn.Module], losses: Callable[[], Tensor], bound: float
) -> Tensor:
    """Add the gradients of units to sums, each clipped to a norm.

    A gradient that is not finite counts for nothing: a failure would reveal its unit.

    Args:
        models: Hold what is trained.
        losses: Runs the models, and computes the loss of each unit, (U,). All units have as many
            rows, and the rows of a unit stand one after the other in the batch.
        bound: Largest norm of a unit's gradient, over all parameters together.

    Returns:
        The losses.

    Raises:
        ModelError: A parameter is in two modules or in none, or in a module that has others in it.
    """
    with _watching(models, sums) as watched:
        each = losses()
        watched.units = len(each)
        torch.autograd.grad(each.sum(), watched.probe)
    norms = torch.stack([one.norms() for one in watched.found]).norm(dim=0)
    weights = _weights(norms, bound)
    for one in watched.found:
        one.add_to(sums, weights)
    return each.detach()


def add_clipped_in_parts(sums: Sums, losses: Iterable[Tensor], bound: float) -> Tensor:
    """Add the clipped gradient of one unit that is too large for one pass.

    Args:
        losses: The loss of the unit, in parts that are summed.

    Returns:
        The loss, (1,).
    """
    own, loss = zeros(sums), 0.0
    for part in losses:
        for total, gradient in zip(own.values(), torch.autograd.grad(part, list(own)), strict=True):
            total += gradient
        loss += float(part.detach())
    norms = torch.stack([each.norm(dtype=torch.float64) for each in own.values()])
    if weight := float(_weights(norms.norm(), bound)):
        for parameter, each in own.items():
            sums[parameter].add_(each, alpha=weight)
    return torch.tensor([loss], dtype=torch.float64)


def _weights(norms: Tensor, bound: float) -> Tensor:
    """Compute the factors that clip gradients of these norms; 0 where a norm is not finite."""
    factors = (bound / norms.clamp(min=bound)).float()
    return torch.where(norms.isfinite(), factors, 0.0)


@dataclass
class _Watched:
    """What is collected in one forward and one backward pass."""

    probe: Tensor
    """A scalar on which the output of each watched module depends, so autograd visits them all."""
    units: int = 0
    found: list[Found] = field(default_factory=list)

    def note(self, formula: Formula, a: Tensor, b: Tensor) -> None:
        """Take what a module read and the gradient of what it put out, (…, D) each.

        The positions of all rows of a unit count as positions of one example. So a unit may have
        several rows, and a model need not keep its rows apart (OPT's MLP does not).
        """
        self.found.append(found(formula, self._of_units(a), self._of_units(b)))

    def _of_units(self, value: Tensor) -> Tensor:
        return value.reshape(self.units, -1, value.shape[-1]).float()


class _Watch(torch.autograd.Function):
    """Passes a module's output on, and notes its gradient.

    What the module read is saved as autograd saves tensors, so that gradient checkpointing can
    compute it anew.
    """

    @staticmethod
    def forward(ctx: Any, output: Tensor, probe: Tensor, read: Tensor, note: Any) -> Tensor:
        ctx.save_for_backward(read)
        ctx.note = note
        return output.view_as(output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (read,) = ctx.saved_tensors
        ctx.note(read, gradients[0])
        return gradients[0], torch.zeros((), device=read.device), None, None


@contextmanager
def _watching(models: Sequence[nn.Module], trained: Sums) -> Iterator[_Watched]:
    """Watch the modules that hold what is trained, while the `with` block runs."""
    device = next(iter(trained)).device
    watched = _Watched(torch.zeros((), device=device, requires_grad=True))
    formulas = {module: formula_of(module) for module in _holders(models, trained)}
    with ExitStack() as stack:
        for module, formula in formulas.items():
            hook = partial(_hook, watched, formula)
            stack.enter_context(module.register_forward_hook(hook))
        yield watched


def _hook(
    watched: _Watched, formula: Formula, module: nn.Module, read: tuple[Tensor, ...], output: Tensor
) -> Tensor:
    note = partial(watched.note, formula)
    result: Tensor = _Watch.apply(output, watched.probe, read[0].detach(), note)
    return result


def _holders(models: Sequence[nn.Module], trained: Sums) -> list[nn.Module]:
    """Find the modules that hold the trained parameters, each of which one module holds.

    A module with others in it would give their gradients, too.
    """
    modules = {module for model in models for module in model.modules()}
    holders: dict[nn.Parameter, list[nn.Module]] = {each: [] for each in trained}
    for module in modules:
        for _, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            if parameter in holders:
                holders[parameter].append(module)
    if any(len(each) != 1 for each in holders.values()):
        raise ModelError(
            "a trained tensor is shared by two modules, and the gradient of a unit is known for "
            "one only; take tune.privacy away, or use a model without tied weights in its adapter"
        )
    found = list(dict.fromkeys(each[0] for each in holders.values()))
    if any(next(module.children(), None) is not None for module in found):
        raise ModelError(
            "a trained tensor belongs to a module that has others in it (BEiT's blocks), so the "
            "gradient of a unit is not known; take tune.privacy away, or use adapter.method LoRA"
        )
    return found
