"""From examples to the batches of a training, as a function of the seed."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, Protocol

import torch

from offsite.layers import rank, workers
from offsite.modality import Batch, Example

_BUCKET_BATCHES = 32


class Collate(Protocol):
    """Stacks examples into one batch: `Modality.collate`."""

    def __call__(self, examples: Sequence[Any], seed: str | None = None) -> Batch:
        """Stack examples; a seed augments them."""
        ...


def batches(examples: Sequence[Example], collate: Collate, size: int) -> list[Batch]:
    """Batch all examples once, in their order, not augmented; the last batch may be smaller."""
    return [collate(examples[i : i + size]) for i in range(0, len(examples), size)]


def augmentation(seed: int, step: int) -> str:
    """Name the seed of a step's augmentation."""
    return f"{seed}:{step}"


class Shuffled:
    """Batches for training: the batch of any step, as a function of the seed alone.

    They are augmented, where the modality does that: differently in each step.
    Each epoch is a new shuffle. Examples of like length share a batch, so little is padded. One
    batch of an epoch may lack examples; it gets others of that epoch, so that no step is of fewer.
    """

    def __init__(
        self, examples: Sequence[Example], collate: Collate, batch_size: int, seed: int
    ) -> None:
        self._examples, self._collate = examples, collate
        self._size, self.seed = batch_size, seed
        self.steps_per_epoch = -(-len(examples) // batch_size)
        self._epoch = lru_cache(maxsize=1)(self._shuffle)

    def __call__(self, step: int) -> Batch:
        """Get this worker's part of the batch of a step, counted from 0.

        Another worker's examples are not collated, for that may be expensive.
        """
        epoch, index = divmod(step, self.steps_per_epoch)
        chosen = [self._examples[i] for i in self._epoch(epoch)[index]]
        seed, mine = augmentation(self.seed, step), chosen[rank() :: workers()]
        return self._collate(mine, seed) if mine else self._collate(chosen[:1], seed).part(1, 2)

    def _shuffle(self, epoch: int) -> list[list[int]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order: list[int] = torch.randperm(len(self._examples), generator=generator).tolist()
        bucket, batches = self._size * _BUCKET_BATCHES, []
        for i in range(0, len(order), bucket):
            near = sorted(order[i : i + bucket], key=lambda j: self._examples[j].size)
            batches += [near[k : k + self._size] for k in range(0, len(near), self._size)]
        # of like length first; `near` is what the last one was made of
        fill = dict.fromkeys([*batches[-1], *reversed(near), *order])
        batches[-1] = list(islice(fill, self._size))
        mixed: list[int] = torch.randperm(len(batches), generator=generator).tolist()
        return [batches[i] for i in mixed]
