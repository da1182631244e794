"""The demo's story: what each party has, the three jobs, and who computes what."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from offsite.errors import ModelError
from offsite.events import Event
from offsite.families import family_of
from offsite_cli.demo.child import Outcome, run_stage

LAB, HOSPITAL = "lab", "hospital"
ENDS = 4
"""Of blocks at either end. What a change there does, it does in the full model too; so this
transfers better than ends of 2 with as many blocks in all, and gives less of the middle away."""


@dataclass(frozen=True)
class Recipe:
    """The settings of the demo's jobs; what is not here has the defaults of every job."""

    share: float = 0.64
    """How much of the middle blocks the emulator keeps."""
    steps: int = 60
    learning_rate: float = 3e-3
    batch_size: int = 8
    block_size: int = 128


@dataclass(frozen=True)
class Choices:
    """What the user asked for, instead of the demo's own model and text."""

    model: str | None = None
    data: Path | None = None
    task: str | None = None
    upper_bound: bool = False


@dataclass(frozen=True)
class Cast:
    """Two parties' folders, and the exchange between them."""

    root: Path
    seed: int = 0

    @property
    def lab(self) -> Path:
        """What only the model owner has."""
        return self.root / LAB

    @property
    def hospital(self) -> Path:
        """What only the data owner has."""
        return self.root / HOSPITAL

    @property
    def exchange(self) -> str:
        """What both reach."""
        return (self.root / "exchange").as_uri()

    @property
    def plugged(self) -> Path:
        """The model that comes out of it."""
        return self.lab / "plugged-in"

    def write_jobs(self, model: Path, config: dict[str, Any], recipe: Recipe) -> None:
        """Write the three job files, each into the folder of the party whose job it is.

        Raises:
            ModelError: the model has too few blocks to show anything.
        """
        middle = family_of(config).count(config) - 2 * ENDS
        if middle < 2:
            raise ModelError(f"the demo needs a model of {2 * ENDS + 2} blocks or more")
        keep = max(1, round(recipe.share * middle))
        self._write(self.lab / "distill.yaml", HOSPITAL, "emulator", _distill(model, keep))
        self._write(self.hospital / "tune.yaml", LAB, "adapter", _tune(recipe))
        self._write(self.lab / "plug-in.yaml", HOSPITAL, "plug-in", _plug_in(model))

    def _write(self, path: Path, peer: str, name: str, section: dict[str, Any]) -> None:
        stage = {"emulator": "Distill", "adapter": "Tune", "plug-in": "PlugIn"}[name]
        job = {
            "apiVersion": "offsite-tuning.dev/v1alpha1",
            "kind": "OffsiteJob",
            "metadata": {"name": name},
            "spec": {"stage": stage, "peer": peer, "seed": self.seed, **section},
        }
        with path.open("w", encoding="utf-8") as file:
            YAML().dump(job, file)

    def play(self, show: Callable[[Event], None]) -> dict[str, Outcome]:
        """Run the three stages, each as its own party in its own process."""
        parts = {
            "distill": (self.lab, LAB),
            "tune": (self.hospital, HOSPITAL),
            "plug-in": (self.lab, LAB),
        }
        return {
            name: run_stage(folder / f"{name}.yaml", who, folder / "home", self.exchange, show)
            for name, (folder, who) in parts.items()
        }


def _distill(model: Path, keep: int) -> dict[str, Any]:
    return {
        "distill": {
            "model": str(model),
            "ends": {"bottom": ENDS, "top": ENDS},
            "emulator": {"method": "LayerDrop", "blocks": keep, "calibration": "corpus.jsonl"},
        }
    }


def _tune(recipe: Recipe) -> dict[str, Any]:
    return {
        "tune": {
            "bundle": "emulator",
            "data": {"train": "train.jsonl", "validation": "validation.jsonl"},
            "training": {
                "steps": recipe.steps,
                "learningRate": recipe.learning_rate,
                "batchSize": recipe.batch_size,
                "blockSize": recipe.block_size,
            },
            "evaluate": "test.jsonl",
        }
    }


def _plug_in(model: Path) -> dict[str, Any]:
    return {
        "plugIn": {"model": str(model), "adapter": "adapter", "export": {"to": "plugged-in"}},
    }
