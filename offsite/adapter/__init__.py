"""What the data owner tunes: one module for each method, behind one interface; and `heads`.

Every tensor of an adapter belongs to one block of the bundle, or to a head, and is a *change*: an
adapter that was never trained is zero. On the wire a tensor is called
`blocks.<i>.<name in the block>.<part>` or `<head>.<name>.change`, and is float32.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor, nn
from transformers import PreTrainedModel

from offsite.adapter import blocks, heads, lora
from offsite.families import Family, Targets

__all__ = ["METHODS", "Attached", "Method", "blocks", "heads", "lora"]


class Attached(Protocol):
    """An adapter in a model, ready to be trained."""

    trained: Mapping[str, nn.Parameter]

    def changes(self) -> dict[str, Tensor]:
        """Get the adapter as it is sent."""
        ...


class Method(Protocol):
    """A form of adapter."""

    def attach(
        self,
        model: PreTrainedModel,
        places: Sequence[int],
        *,
        rank: int,
        seed: int,
        targets: Targets = "All",
    ) -> Attached:
        """Make the adapter trainable in the given blocks of a frozen model."""
        ...

    def change(self, parts: Mapping[str, Tensor], rows: slice, row: Family) -> Tensor:
        """Compute some rows of the change of one weight, as it is stored, from what was sent."""
        ...


METHODS = {"LoRA": lora, "Blocks": blocks}
