"""A batch of examples, as the layers above a modality see it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

IGNORED = -100
"""The target of a position where no loss is taken, as torch has it."""


@dataclass(frozen=True)
class Batch:
    """B examples that a model reads together, and what to predict of them."""

    inputs: Mapping[str, Tensor]
    """Arguments of the base model by name, such as `input_ids` or `pixel_values`: (B, …) each."""
    targets: Tensor
    """(B, …): what to predict, or `IGNORED` where no loss is taken. (B, T) where each position
    predicts a token, (B,) where an example has one class."""
    mask: Tensor
    """(B, T): where a hidden state stands for input, and not for padding."""
    unit: str
    """What progress counts, in the plural: `tokens` or `images`."""

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def positions(self) -> int:
        """Count the positions that the model computes, padding included."""
        return self.mask.numel()

    @property
    def amount(self) -> int:
        """Count the units: positions where each has a target, examples where each has one."""
        return self.positions if self.by_position else len(self)

    @property
    def by_position(self) -> bool:
        """Whether each position has a target of its own, or each example has one."""
        return self.targets.ndim > 1

    @property
    def weights(self) -> Tensor:
        """Count the targets of each example on which a loss is taken, (B,)."""
        return (self.targets != IGNORED).reshape(len(self), -1).sum(1)

    def to(self, where: torch.device) -> "Batch":
        """Copy the batch to a device."""
        return self._mapped(lambda tensor: tensor.to(where))

    def part(self, rank: int, workers: int) -> "Batch":
        """Take the examples of one of several workers; `part(i, len(batch))` is example i alone.

        A worker for which none is left gets an example that counts for nothing, because all
        workers have to run the model together.
        """
        if rank < len(self):
            return self._mapped(lambda tensor: tensor[rank::workers])
        first = self._mapped(lambda tensor: tensor[:1])
        nothing = torch.full_like(first.targets, IGNORED)
        return replace(first, targets=nothing, mask=torch.zeros_like(first.mask))

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        inputs = {name: change(tensor) for name, tensor in self.inputs.items()}
        return replace(self, inputs=inputs, targets=change(self.targets), mask=change(self.mask))
