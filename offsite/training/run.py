"""How one training is to go: its plan, its checkpoints, its monitor and its step."""

import math
from dataclasses import dataclass
from typing import Any

from offsite.events import Monitor
from offsite.training.checkpoints import Checkpoints, Unsaved
from offsite.training.parallel import Sharding
from offsite.training.step import TrainingStep, plain_step


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long and how fast to train."""

    steps: int
    learning_rate: float
    seed: int
    warmup: float = 0.1
    """The share of the steps over which the learning rate rises; then it falls as a cosine."""
    validate_every: int = 0
    """Steps between two validations; 0: never."""
    least: int = 1
    """How many steps the best tensors have to have had."""
    sharding: Sharding = "DDP"
    """How several workers share the model."""
    gradient_checkpointing: bool = False
    """Whether to recompute activations on the way back instead of keeping them."""

    def rate(self, step: int) -> float:
        """Get the learning rate of a step, counted from 0."""
        rising = max(1, round(self.steps * self.warmup))
        if step < rising:
            return self.learning_rate * (step + 1) / rising
        share = (step - rising) / max(1, self.steps - rising)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * share))

    def validates_after(self, step: int) -> bool:
        """Whether to validate when `step` is done; the last step always counts."""
        if not self.validate_every or step + 1 < self.least:
            return False
        return (step + 1) % self.validate_every == 0 or step + 1 == self.steps


@dataclass(frozen=True)
class Run:
    """One training: how long and how fast, where it is saved, and whom it reports to."""

    plan: Plan
    checkpoints: Checkpoints | Unsaved
    monitor: Monitor
    step: TrainingStep[Any] = plain_step
    """What is done with each batch."""
