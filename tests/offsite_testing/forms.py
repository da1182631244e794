"""Adapters in every form, with random numbers in them."""

import copy
from typing import NamedTuple

import torch
from transformers import PreTrainedModel

from offsite.adapter import METHODS, Attached, Method
from offsite.bundle import AdapterFacts
from offsite.emulator.layer_drop import Layout, drop_layers
from offsite.families import Targets

RANK = 3


class Form(NamedTuple):
    """A method, a scope and the targets of an adapter."""

    method: str
    scope: str
    targets: Targets = "All"

    @property
    def rank(self) -> int:
        """Of an adapter that has one; else 0."""
        return RANK if self.method == "LoRA" else 0

    @property
    def facts(self) -> AdapterFacts:
        """What its manifest says."""
        return AdapterFacts.model_validate(
            {**self._asdict(), "rank": self.rank, "answers": "sha256:" + "0" * 64}
        )

    def places(self, layout: Layout) -> tuple[int, ...]:
        """List the blocks of the emulator that it changes."""
        return tuple(range(len(layout.kept))) if self.scope == "All" else layout.ends

    def attach(self, model: PreTrainedModel, layout: Layout, seed: int = 0) -> Attached:
        """Make it trainable."""
        method: Method = METHODS[self.method]
        return method.attach(
            model, self.places(layout), rank=self.rank, seed=seed, targets=self.targets
        )


FORMS = [Form("LoRA", "All"), Form("LoRA", "Ends"), Form("Blocks", "Ends")]
TARGETED = [Form("LoRA", "All", "MLP"), Form("LoRA", "Ends", "Attention")]


def own_emulator(model: PreTrainedModel, layout: Layout) -> PreTrainedModel:
    """Make an emulator that shares nothing with the model, as the data owner's does."""
    return copy.deepcopy(drop_layers(model, layout))


def randomise(attached: Attached, seed: int = 1) -> None:
    """Move every tensor of an adapter by something random."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in attached.trained.values():
            parameter.add_(torch.randn(parameter.shape, generator=draw) * 0.1)
