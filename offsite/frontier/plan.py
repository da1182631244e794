"""What all settings of a sweep have in common."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from offsite.api import Limits
from offsite.frontier.sweep import Candidate
from offsite.rehearsal import Setting, Splits


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The model, the data, and how to tune and to attack."""

    model: Path
    """Folder of the full model."""
    data: Splits
    """A stand-in for the private data, and public data."""
    setting: Setting
    """How to tune and to plug in. Its emulator is replaced by each of the sweep."""
    folder: Path
    """Where results are kept. What is there already is not done again."""
    limits: Limits
    """What the organization allows. Other settings are measured, too, and never suggested."""
    seeds: Sequence[int] = (0,)
    """Of the tuning, and of the fine-tuning of the full model."""
    recovery_steps: int = 200
    """Training steps of each attack on an emulator."""

    def of(self, candidate: Candidate) -> Setting:
        """Return the setting of a candidate."""
        own = {
            "ends": candidate.ends,
            "emulator": candidate.emulator,
            "distillation": candidate.training,
        }
        return self.setting.model_copy(update=own)
