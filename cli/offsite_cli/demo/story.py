"""The demo's story: what each party has, the three jobs, and who computes what."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from offsite.api import Limits
from offsite.apiversion import API_VERSION
from offsite.errors import InputError, ModelError
from offsite.events import Event
from offsite.exchange.home import keep_ring, peers_of
from offsite.sealing import Ring
from offsite.steps.party import POLICY
from offsite.store import disk_errors
from offsite.wire import canonical
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

    @classmethod
    def of(cls, choices: "Choices") -> "Recipe":
        """Choose the settings: for a labelled task, keep more of the middle.

        A task of few words is soon learnt by the emulator alone. Measured on SmolLM2-135M and the
        shipped task: with 14 of 22 blocks .72 in the emulator and .54 plugged in; with 20, .80 and
        .81.
        """
        return cls(share=0.91) if choices.task else cls()

    def kept(self, model: Path) -> int:
        """Count the middle blocks that the emulator keeps of a model.

        Raises:
            ModelError: the model is of no known family, or has too few blocks to show anything.
        """
        middle = _blocks(model) - 2 * ENDS
        if middle < 2:
            raise ModelError(f"{model}: the demo needs a model of {2 * ENDS + 2} blocks or more")
        return max(1, min(middle - 1, round(self.share * middle)))

    def policy(self, model: Path) -> dict[str, float]:
        """Write down what the lab has to allow for this: more than the defaults, if need be."""
        blocks, usual = _blocks(model), Limits()
        kept, ends = self.kept(model) / (blocks - 2 * ENDS), 2 * ENDS / blocks
        return {
            "maxKeptBlocks": max(usual.max_kept_blocks, kept),
            "maxEndBlocks": max(usual.max_end_blocks, ends),
        }


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
    exchange: str = ""
    """What both reach: `s3://bucket`; absent: a folder beside theirs."""
    credentials: Path | None = None
    """Of an S3 exchange: a folder with `lab.json` and `hospital.json`."""
    tag: str = ""
    """Ends the names of the jobs: an exchange that outlives the demo knows older ones."""

    @property
    def lab(self) -> Path:
        """What only the model owner has."""
        return self.root / LAB

    @property
    def hospital(self) -> Path:
        """What only the data owner has."""
        return self.root / HOSPITAL

    @property
    def plugged(self) -> Path:
        """The model that comes out of it."""
        return self.lab / "plugged-in"

    def lay_out(self) -> None:
        """Make the parties' folders and keys, in place of those of an earlier demo.

        Raises:
            InputError: there is something that no demo put there.
        """
        root, mark = self.root, self.root / _MARK
        if root.is_file() or (root.is_dir() and any(root.iterdir()) and not mark.exists()):
            raise InputError(f"{root} is not empty and not of a demo; name another --folder")
        with disk_errors(root):
            for former in (LAB, HOSPITAL, "exchange"):
                shutil.rmtree(root / former, ignore_errors=True)
            for folder in (self.lab, self.hospital):
                folder.mkdir(parents=True)
            mark.touch()
        rings = {folder: Ring.new(folder.name) for folder in (self.lab, self.hospital)}
        for folder, other in ((self.lab, self.hospital), (self.hospital, self.lab)):
            keep_ring(folder / "home", rings[folder], None)
            public = canonical(rings[other].public().wire())
            peers_of(folder / "home").add(public, other.name)

    def refuse_inside(self, *named: Path) -> None:
        """Check that nothing that the user named would be deleted with an earlier demo.

        Raises:
            InputError: it lies in the demo's folder.
        """
        for path in named:
            if path.resolve().is_relative_to(self.root):
                raise InputError(
                    f"{path} is in {self.root}, which the demo empties; name another --folder"
                )

    def write_jobs(self, model: Path, recipe: Recipe) -> None:
        """Write the three job files, each into the folder of its party, and the lab's policy."""
        keep = recipe.kept(model)
        _write_yaml(self.lab / "home" / POLICY, recipe.policy(model))
        self._write(self.lab / "distill.yaml", HOSPITAL, "emulator", _distill(model, keep))
        self._write(self.hospital / "tune.yaml", LAB, "adapter", _tune(recipe, self.tag))
        self._write(self.lab / "plug-in.yaml", HOSPITAL, "plug-in", _plug_in(model, self.tag))

    def _write(self, path: Path, peer: str, name: str, section: dict[str, Any]) -> None:
        stage = {"emulator": "Distill", "adapter": "Tune", "plug-in": "PlugIn"}[name]
        job = {
            "apiVersion": API_VERSION,
            "kind": "OffsiteJob",
            "metadata": {"name": name + self.tag},
            "spec": {"stage": stage, "peer": peer, "seed": self.seed, **section},
        }
        _write_yaml(path, job)

    def play(self, show: Callable[[Event], None]) -> dict[str, Outcome]:
        """Run the three stages, each as its own party in its own process."""
        parts = {"distill": self.lab, "tune": self.hospital, "plug-in": self.lab}
        exchange = self.exchange or (self.root / "exchange").as_uri()
        return {
            name: run_stage(
                folder / f"{name}.yaml", folder / "home", exchange, self._environ(folder), show
            )
            for name, folder in parts.items()
        }

    def _environ(self, folder: Path) -> dict[str, str]:
        """What only one party's processes see."""
        if self.credentials is None:
            return {}
        place = self.credentials / f"{folder.name}.json"
        return {"OFFSITE_EXCHANGE_CREDENTIALS": str(place.resolve())}


def _blocks(model: Path) -> int:
    # torch takes seconds to import, so only what needs it does so
    from offsite.layers import block_count

    return block_count(model)


def _write_yaml(path: Path, content: dict[str, Any]) -> None:
    with path.open("w", encoding="utf-8") as file:
        YAML().dump(content, file)


def _distill(model: Path, keep: int) -> dict[str, Any]:
    return {
        "distill": {
            "model": model.as_uri(),
            "ends": {"bottom": ENDS, "top": ENDS},
            "emulator": {"method": "LayerDrop", "blocks": keep, "calibration": "corpus.jsonl"},
        }
    }


def _tune(recipe: Recipe, tag: str) -> dict[str, Any]:
    return {
        "tune": {
            "bundle": f"emulator{tag}",
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


def _plug_in(model: Path, tag: str) -> dict[str, Any]:
    return {
        "plugIn": {
            "model": model.as_uri(),
            "adapter": f"adapter{tag}",
            "export": {"to": "plugged-in"},
        },
    }
