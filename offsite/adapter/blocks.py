"""Whole blocks at the ends of the model: the paper's adapter (Xiao et al. 2023, section 3.1).

Sent is the `change` of every tensor of those blocks, in its own shape: what was tuned minus what
was there before. So an adapter can be scaled, and means nothing without the model.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from offsite.families import Family, Targets
from offsite.layers import blocks, family, is_lazy, tensors_of
from offsite.layers.tensors import unchanged_of


class Unfrozen:
    """Blocks that are trained, and what they were before."""

    def __init__(self, trained: dict[str, nn.Parameter]) -> None:
        self.trained: Mapping[str, nn.Parameter] = trained
        self._before = {name: value.detach().clone() for name, value in trained.items()}

    def changes(self) -> dict[str, Tensor]:
        """Get the changes as they are sent."""
        return {name: value.detach() - self._before[name] for name, value in self.trained.items()}


class OnDisk:
    """Blocks of a model that was opened lazily: training writes them to the disk.

    Args:
        names: the names in `tensors_of` of what is trained.
    """

    def __init__(
        self, model: PreTrainedModel, trained: dict[str, nn.Parameter], names: Mapping[str, str]
    ) -> None:
        self.trained: Mapping[str, nn.Parameter] = trained
        self._model, self._names = model, names

    def changes(self) -> dict[str, Tensor]:
        """Get the changes as they are sent."""
        now, before = tensors_of(self._model), unchanged_of(self._model)
        return {wire: now[name] - before[name].float() for wire, name in self._names.items()}


def attach(
    model: PreTrainedModel,
    places: Sequence[int],
    *,
    rank: int,
    seed: int,
    targets: Targets = "All",
) -> Unfrozen | OnDisk:
    """Make every tensor of blocks trainable, in float32; only `places` counts."""
    trained: dict[str, nn.Parameter] = {}
    names: dict[str, str] = {}
    for place in places:
        block = blocks(model)[place].to(torch.float32)
        block.requires_grad_(True)
        for name, parameter in block.named_parameters():
            trained[f"blocks.{place}.{name}.change"] = parameter
            names[f"blocks.{place}.{name}.change"] = family(model).tensor_name(place, name)
    return OnDisk(model, trained, names) if is_lazy(model) else Unfrozen(trained)


def change(parts: Mapping[str, Tensor], rows: slice, row: Family) -> Tensor:
    """Get some rows of the change, which has the weight's own shape."""
    return parts["change"][rows]
