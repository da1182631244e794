"""Scores of a classifier: how often it is right, and its loss by class."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from offsite.modality.batch import IGNORED, Batch
from offsite.modality.images.examples import ImageExample
from offsite.modality.images.loss import logits, losses
from offsite.modality.scores import Score, proportion
from offsite.modality.uncertainty import Comparable, Skill
from offsite.rows import ImageRow
from offsite.text import printable

_FIVE_FROM = 10
"""From so many classes on, it tells something whether the right one is among the first five."""
_WORST = 20
"""Classes that the details name."""


@dataclass(frozen=True)
class Classification(Comparable):
    """Labelled images that models are scored on by accuracy."""

    examples: tuple[ImageExample, ...]
    labels: tuple[str, ...]
    unscored: str = ""
    cut: ClassVar[int] = 0

    def outcomes(self, model: PreTrainedModel, hidden: Tensor, batch: Batch) -> Tensor:
        """Rank the right class of each image, and compute its loss, (B, 2).

        The rank counts the other classes that are as likely or likelier: 0 if the model is right.
        A class that the model lacks is the last one.
        """
        said, known = logits(model, hidden, batch.mask), batch.targets != IGNORED
        right = said.gather(1, batch.targets.clamp(min=0)[:, None])
        # what is not a number is no less
        rank = (~(said < right)).sum(1) - 1
        rank = torch.where(known, rank, len(self.labels))
        return torch.stack([rank.double(), losses(model, hidden, batch)], dim=1)

    def scores(self, outcomes: Tensor) -> Sequence[Score]:
        """Compute the accuracy (0 to 1) of the first answer and, of many classes, of five."""
        ranks, count = outcomes[:, 0], len(outcomes)
        found = [proportion("accuracy", int((ranks < 1).sum()), count)]
        if len(self.labels) >= _FIVE_FROM:
            found.append(proportion("accuracy_top5", int((ranks < 5).sum()), count))
        return found

    def skill(self, outcomes: Tensor) -> Skill:
        """Return 1 for each image that the model is right about, else 0."""
        right = (outcomes[:, 0] < 1).double().numpy()
        return Skill("accuracy", right, np.ones(len(right)))

    def chance(self, _corpus: Sequence[ImageExample]) -> Skill:
        """Return the share of the most frequent class, for each image."""
        (_, most), *_ = Counter(example.target for example in self.examples).most_common(1)
        count = len(self.examples)
        return Skill("accuracy", np.full(count, most / count), np.ones(count))

    def details(self, outcomes: Tensor) -> Sequence[str]:
        """Tell the loss by class, the worst one first."""
        targets = torch.tensor([example.target for example in self.examples])
        unknown = int((targets == IGNORED).sum())
        lines = [self._by_class(targets, outcomes)]
        if unknown:
            lines.append(f"{unknown} of {len(targets)} images are of classes that the model lacks")
        return lines

    def _by_class(self, targets: Tensor, outcomes: Tensor) -> str:
        chosen = {number: outcomes[targets == number] for number in sorted({*targets.tolist()})}
        means = {number: each.mean(0)[1].item() for number, each in chosen.items()}
        worst = sorted((number for number in chosen if number != IGNORED), key=lambda n: -means[n])
        shown = ", ".join(
            f"{printable(self.labels[n])} {means[n]:.3g} ({len(chosen[n])} images, accuracy "
            f"{(chosen[n][:, 0] < 1).double().mean().item():.3g})"
            for n in worst[:_WORST]
        )
        more = f", and {len(worst) - _WORST} more classes" if len(worst) > _WORST else ""
        return f"loss by class: {shown}{more}"


def benchmark(rows: Sequence[ImageRow], labels: tuple[str, ...], positions: int) -> Classification:
    """Encode rows to score models on; a class that the model lacks is one that it gets wrong.

    Args:
        labels: the names of the model's classes.
        positions: how many positions an image takes.
    """
    numbers = {label: number for number, label in enumerate(labels)}
    targets = [numbers.get(row.label or "", IGNORED) for row in rows]
    examples = tuple(
        ImageExample(row, target, positions) for row, target in zip(rows, targets, strict=True)
    )
    return Classification(examples, labels, _unscored(rows, labels, targets))


def _unscored(rows: Sequence[ImageRow], labels: tuple[str, ...], targets: Sequence[int]) -> str:
    if not labels:
        return "the model has no head, so it names no class"
    if all(row.label is None for row in rows):
        return "the images have no labels"
    if all(target == IGNORED for target in targets):
        return "the model has none of the classes of the images"
    return ""
