"""The demo's story: what each party has, the three jobs, and who computes what."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from offsite.errors import InputError, ModelError
from offsite.events import Event
from offsite.families import family_of
from offsite.store import disk_errors
from offsite_cli.demo.child import Outcome, run_stage

LAB, HOSPITAL = "lab", "hospital"
_MARK = ".offsite-demo"
"""A file in the folder of a demo, which may be emptied."""
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

    def kept(self, model: Path) -> int:
        """Count the middle blocks that the emulator keeps of a model.

        Raises:
            ModelError: the model is of no known family, or has too few blocks to show anything.
        """
        config = json.loads((model / "config.json").read_bytes())
        middle = family_of(config).count(config) - 2 * ENDS
        if middle < 2:
            raise ModelError(f"{model}: the demo needs a model of {2 * ENDS + 2} blocks or more")
        return max(1, round(self.share * middle))


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

    def lay_out(self) -> None:
        """Make the parties' folders, in place of those of an earlier demo.

        Raises:
            InputError: there is something that no demo put there.
        """
        root, mark = self.root, self.root / _MARK
        if root.is_file() or (root.is_dir() and any(root.iterdir()) and not mark.exists()):
            raise InputError(f"{root} is not empty and not of a demo; name another --folder")
        with disk_errors(root):
            if root.is_dir():
                shutil.rmtree(root)
            for folder in (self.lab, self.hospital):
                folder.mkdir(parents=True)
            mark.touch()

    def write_jobs(self, model: Path, recipe: Recipe) -> None:
        """Write the three job files, each into the folder of the party whose job it is."""
        keep = recipe.kept(model)
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
