"""What every stage works with."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from offsite.api import DistillTraining, TuneTraining
from offsite.events import Monitor
from offsite.layers import workers
from offsite.steps.inputs import Inputs
from offsite.steps.workspace import Workspace
from offsite.training.checkpoints import Checkpoints
from offsite.training.parallel import Sharding
from offsite.training.run import Plan, Run
from offsite.training.step import PlainStep


@dataclass(frozen=True)
class Trainer:
    """How a stage trains: by which seed, with which workers, and from which checkpoint."""

    seed: int
    checkpoints: Checkpoints
    monitor: Monitor
    sharding: Sharding = "DDP"
    """How several workers share the model."""

    def run(self, training: DistillTraining | TuneTraining, steps: int, **more: int) -> Run:
        """Make the training that a section of a job asks for.

        Args:
            more: further fields of its `Plan`.
        """
        plan = Plan(
            steps=steps,
            learning_rate=training.learning_rate,
            seed=self.seed,
            sharding=self.sharding,
            gradient_checkpointing=training.gradient_checkpointing,
            **more,
        )
        return Run(plan, self.checkpoints, self.monitor, PlainStep(training.accumulate))


@dataclass(frozen=True)
class Context:
    """One attempt at a stage: its workspace, its inputs, its checkpoints and its monitor."""

    space: Workspace
    inputs: Inputs
    digests: Mapping[str, str]
    """Of the inputs by name; `bundle` is that of the envelope that was opened."""
    checkpoints: Checkpoints
    monitor: Monitor
    randbits: Callable[[int], int] = secrets.randbits
    """Source of the coins of an audit: never the job's seed, which its author knows."""

    @property
    def model(self) -> Path:
        """The folder of the model: the party's own, or the emulator that was opened."""
        return self.inputs.model or self.space.opened

    @property
    def shared(self) -> bool:
        """Whether the workers share each model, of which none may hold the whole."""
        return workers() > 1 and self.space.spec.resources.sharding == "FSDP"

    @property
    def trainer(self) -> Trainer:
        """How this attempt trains."""
        spec = self.space.spec
        return Trainer(spec.seed, self.checkpoints, self.monitor, spec.resources.sharding)
