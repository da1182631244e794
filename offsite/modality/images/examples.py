"""Examples of images: rows with a target, and batches of what a model reads of them."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from offsite.errors import DataError
from offsite.modality.batch import IGNORED, Batch
from offsite.process.processors import processors
from offsite.rows import ImageRow
from offsite.text import printable

_SHOWN = 10
"""Labels of a model that a message names."""


@dataclass(frozen=True)
class ImageExample:
    """An image, which is decoded when a batch needs it, and its class."""

    row: ImageRow
    target: int
    """Number of its class, or `IGNORED`."""
    size: int
    """How many positions of a hidden state it takes."""

    @property
    def weight(self) -> int:
        """Count its targets: one, or none."""
        return int(self.target != IGNORED)


def encode(
    rows: Sequence[ImageRow], labels: Sequence[str], positions: int
) -> tuple[ImageExample, ...]:
    """Turn rows into examples.

    Args:
        labels: the names of the classes; empty: the examples have no targets.
        positions: how many positions each takes.

    Raises:
        DataError: a row has no label, or one that is no class; no peer decides that.
    """
    if not labels:
        return tuple(ImageExample(row, IGNORED, positions) for row in rows)
    numbers = {label: number for number, label in enumerate(labels)}
    return tuple(ImageExample(row, _target(row, numbers), positions) for row in rows)


def _target(row: ImageRow, numbers: dict[str, int]) -> int:
    if row.label is None:
        raise DataError(f"{row.name} has no label; put it into the folder of its class, or name it")
    if row.label not in numbers:
        known = ", ".join(printable(label) for label in list(numbers)[:_SHOWN])
        more = ", …" if len(numbers) > _SHOWN else ""
        raise DataError(
            f"{row.name} has the label {row.label!r}, which is none of the {len(numbers)} classes "
            f"({known}{more}); correct it, or take it out"
        )
    return numbers[row.label]


def collate(
    examples: Sequence[ImageExample], read: Callable[[ImageExample], Mapping[str, Tensor]]
) -> Batch:
    """Read images in several threads, and stack them.

    Args:
        read: decodes an image, and makes what the model reads of it.
    """
    # Pillow decodes and resizes without Python's lock
    with ThreadPoolExecutor(min(len(examples), processors())) as pool:
        found = list(pool.map(read, examples))
    inputs = {name: torch.stack([each[name] for each in found]) for name in found[0]}
    targets = torch.tensor([example.target for example in examples])
    everywhere = torch.ones(len(examples), examples[0].size, dtype=torch.bool)
    # a model that reads images of any shape as patches has some left over
    mask = inputs.get("pixel_attention_mask", everywhere).bool()
    return Batch(inputs, targets, mask, unit="images")
