"""The protocol of a method that compresses the middle of a model into an emulator.

To add a method:

1. Give it a section of the job in `offsite/api/emulators.py`: a subclass of `EmulatorSection` with
   `method` and the method's own fields, and the little of it that is arithmetic. Add it to the
   union `Emulator`. The CRD, the errors and the manifest follow from that.
2. Write it, as a module with the functions of `Method`, and add it to `METHODS`.

Healing, distillation, what is disclosed, sealing and plug-in work on what every method gives, a
`Compressed`, and know none of them.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Protocol, TypeVar

from transformers import PreTrainedModel

from offsite.api import Ends
from offsite.bundle import BlockRecord
from offsite.families import Shape

Asked = TypeVar("Asked", contravariant=True)
"""The section of a job that one method has: a subclass of `EmulatorSection`."""


@dataclass(frozen=True)
class Compressed:
    """An emulator between the ends of its model."""

    model: PreTrainedModel
    """A model that transformers opens as any other, frozen. It may share tensors with the full one;
    healing and distillation give tensors of their own to those that they change."""
    blocks: tuple[BlockRecord, ...]
    """What each of its blocks was made from, bottom first, the ends included. `full` rises."""
    share: float
    """How much of the full model's middle it discloses, from 0 to 1; see `share_of`."""

    @property
    def middle(self) -> range:
        """The places of the blocks between the ends, which healing and distillation change."""
        places = [place for place, block in enumerate(self.blocks) if not block.end]
        return range(places[0], places[-1] + 1)

    @property
    def ends(self) -> tuple[int, ...]:
        """The places of the blocks that are the full model's own."""
        return tuple(place for place, block in enumerate(self.blocks) if block.end)

    @property
    def replaced(self) -> slice:
        """The full model's blocks between the ends, which the emulator's middle stands for."""
        middle = self.middle
        return slice(self.blocks[middle.start - 1].full + 1, self.blocks[middle.stop].full)


class Method(Protocol[Asked]):
    """A way to make an emulator. It changes nothing in the model that it is given."""

    def choose(
        self, depth: int, ends: Ends, asked: Asked, sent: Collection[int]
    ) -> tuple[int, ...]:
        """Choose the full model's blocks that the emulator is made from, before it is loaded.

        Args:
            depth: how many blocks the full model has.
            ends: how many of them, at both ends, stay as they are.
            asked: the method's own parameters.
            sent: blocks that emulators of this model disclosed before. Every other block that is
                chosen counts against what the organization allows, so prefer these.

        Returns:
            the block behind each block of the emulator, in rising order, the ends included.

        Raises:
            ModelError: the model has too few blocks.
        """
        ...

    def compress(
        self, model: PreTrainedModel, ends: Ends, asked: Asked, chosen: Sequence[int]
    ) -> Compressed:
        """Make the emulator.

        Args:
            model: the full model, frozen.
            ends: as in `choose`.
            asked: as in `choose`.
            chosen: what `choose` gave.

        Raises:
            ModelError: this model cannot be compressed so.
        """
        ...


def share_of(blocks: Sequence[BlockRecord], full: Mapping[str, Shape], depth: int) -> float:
    """Compute the share of a model's middle that an emulator discloses, counted in numbers.

    Args:
        blocks: of the emulator.
        full: the shape of every tensor of a block of the full model.
        depth: how many blocks the full model has.
    """
    middle = depth - sum(block.end for block in blocks)
    held = sum(_size(block.tensors) for block in blocks if not block.end)
    return held / (middle * _size(full))


def _size(tensors: Mapping[str, Shape]) -> int:
    return sum(prod(shape) for shape in tensors.values())
