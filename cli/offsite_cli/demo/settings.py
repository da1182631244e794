"""The settings of the demo: the user's choices, and the hyperparameters of the three jobs."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from offsite.api import (
    Augmentation,
    DistillTraining,
    Ends,
    LayerDrop,
    Limits,
    Privacy,
    TuneTraining,
)
from offsite.errors import ModelError
from offsite.rehearsal import Setting


@dataclass(frozen=True)
class Choices:
    """What the user chose in place of the demo's own model and data."""

    model: str | None = None
    data: Path | None = None
    task: str | None = None
    upper_bound: bool = False
    epsilon: float | None = None
    """Bound ε of the adapter for each row; None: no differential privacy."""
    vision: bool = False
    """Images and a model that classifies them, instead of text."""
    seeds: int = 1
    """How many seeds to tune and plug in with."""


@dataclass(frozen=True)
class Recipe:
    """The hyperparameters of the jobs. Others have the defaults of a job."""

    share: float = 0.64
    """Share of the middle blocks that the emulator keeps."""
    distill_steps: int = 0
    """Training steps of the emulator; 0: it is healed alone."""
    steps: int = 60
    learning_rate: float = 3e-3
    batch_size: int = 8
    block_size: int = 128
    ends: int = 4
    """Blocks at either end. An adapter of the ends acts on the same blocks in the full model, so
    4 transfers better than 2 with as many blocks in all, and discloses less of the middle."""
    augmentation: Augmentation = "None"
    """How images are changed while training. Not at all: a part of a tile may have less of the
    stain than the tile, and a digit fills its image, so a crop would often have a wrong label."""
    full_learning_rate: float = 1e-4
    """Of the fine-tuning of the full model, for comparison."""
    vision: bool = False
    epsilon: float | None = None

    @classmethod
    def of(cls, choices: Choices) -> "Recipe":
        """Choose the hyperparameters; a labelled task keeps more of the middle blocks.

        An emulator alone soon learns a task with short answers. Measured on SmolLM2-135M and the
        shipped task: with 14 of 22 blocks, accuracy .72 in the emulator and .54 plugged in; with
        20 blocks, .80 and .81.
        """
        if choices.vision:
            return replace(_VISION, epsilon=choices.epsilon)
        share = 0.91 if choices.task else cls.share
        return cls(share=share, epsilon=choices.epsilon)

    @property
    def suffix(self) -> str:
        """How the names of the data sets end: those of images are folders."""
        return "/" if self.vision else ".jsonl"

    def kept_blocks(self, model: Path) -> int:
        """Return how many middle blocks of a model the emulator keeps.

        Raises:
            ModelError: the family of the model is not supported, or it has too few blocks.
        """
        middle = _block_count(model) - 2 * self.ends
        if middle < 2:
            least = 2 * self.ends + 2
            raise ModelError(f"{model}: the demo needs a model of at least {least} blocks")
        return max(1, min(middle - 1, round(self.share * middle)))

    def setting(self, model: Path, seed: int) -> Setting:
        """Return what the three jobs have, for rehearsals of them."""
        size, distillation = self.batch_size, None
        if steps := self.distill_steps:
            corpus = f"corpus{self.suffix}"
            distillation = DistillTraining(corpus=corpus, steps=steps, batch_size=size)
        training: dict[str, Any] = {"block_size": self.block_size}
        if self.vision:
            training = {"augmentation": self.augmentation}
        return Setting(
            ends=Ends(bottom=self.ends, top=self.ends),
            emulator=LayerDrop(blocks=self.kept_blocks(model)),
            distillation=distillation,
            emulator_seed=seed,
            tuning=TuneTraining(
                steps=self.steps, learning_rate=self.learning_rate, batch_size=size, **training
            ),
            privacy=None if self.epsilon is None else Privacy(epsilon=self.epsilon),
            full_learning_rate=self.full_learning_rate,
        )

    def policy(self, model: Path) -> dict[str, float]:
        """Return the lab's limits on disclosure: the defaults, raised if the emulator needs it."""
        blocks, defaults = _block_count(model), Limits()
        kept, ends = self.kept_blocks(model) / (blocks - 2 * self.ends), 2 * self.ends / blocks
        return {
            "maxKeptBlocks": max(defaults.max_kept_blocks, kept),
            "maxEndBlocks": max(defaults.max_end_blocks, ends),
        }

    @property
    def privacy_policy(self) -> dict[str, Any]:
        """The hospital's limits with differential privacy: no other adapter leaves it."""
        if self.epsilon is None:
            return {}
        return {"privacy": {"required": True, "maxEpsilon": self.epsilon}}


_VISION = Recipe(
    share=0.67,
    distill_steps=200,
    steps=200,
    learning_rate=3e-4,
    batch_size=16,
    ends=3,
    full_learning_rate=3e-5,
    vision=True,
)
"""Measured on the digits, seed 0: plugged in, an adapter of an emulator that is healed alone has an
accuracy of .92, and of one that is distilled, too, .96. The full model with a probe has .94."""


def _block_count(model: Path) -> int:
    # importing torch takes seconds, so it happens only where it is needed
    from offsite.layers import block_count

    return block_count(model)
