"""What every stage works with."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from offsite.events import Monitor
from offsite.steps.inputs import Inputs
from offsite.steps.workspace import Workspace
from offsite.training.checkpoints import Checkpoints
from offsite.training.run import Plan, Run


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

    def run(self, plan: Plan) -> Run:
        """Make the training that this attempt does."""
        return Run(plan, self.checkpoints, self.monitor)
