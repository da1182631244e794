"""The two parties of the demo: their folders and keys, their jobs, and the runs of their stages."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from offsite.apiversion import API_VERSION
from offsite.errors import InputError
from offsite.events import Event
from offsite.exchange.home import keep_ring, peers_of
from offsite.sealing import Ring
from offsite.steps.party import POLICY
from offsite.store import disk_errors
from offsite.wire import canonical
from offsite_cli.demo.settings import Recipe
from offsite_cli.demo.stage_process import Outcome, run_stage

LAB, HOSPITAL = "lab", "hospital"
_MARK = ".offsite-demo"
"""A file that marks the folder of a demo, which the next demo may empty."""


@dataclass(frozen=True)
class Parties:
    """The folders of both parties, and the exchange between them."""

    root: Path
    seed: int = 0
    exchange: str = ""
    """Address of the exchange; empty: a folder beside those of the parties."""
    credentials: Path | None = None
    """Folder with `lab.json` and `hospital.json`, for an exchange in S3."""
    tag: str = ""
    """Suffix of the jobs' names, since an exchange in S3 keeps those of earlier demos."""

    @property
    def lab(self) -> Path:
        """The model owner's folder."""
        return self.root / LAB

    @property
    def hospital(self) -> Path:
        """The data owner's folder."""
        return self.root / HOSPITAL

    @property
    def tuned_model(self) -> Path:
        """The full model with the adapter plugged in."""
        return self.lab / "plugged-in"

    @property
    def report(self) -> Path:
        """The joint report of both parties."""
        return self.root / "report.html"

    def create(self) -> None:
        """Create the parties' folders and keys, and delete those of an earlier demo.

        Raises:
            InputError: the folder is not empty, and not that of a demo.
        """
        root, mark = self.root, self.root / _MARK
        if root.is_file() or (root.is_dir() and any(root.iterdir()) and not mark.exists()):
            raise InputError(
                f"{root} is not empty, and no demo created it; choose another --folder"
            )
        with disk_errors(root):
            for former in (LAB, HOSPITAL, "exchange"):
                shutil.rmtree(root / former, ignore_errors=True)
            self.report.unlink(missing_ok=True)
            for folder in (self.lab, self.hospital):
                folder.mkdir(parents=True)
            mark.touch()
        rings = {folder: Ring.new(folder.name) for folder in (self.lab, self.hospital)}
        for folder, other in ((self.lab, self.hospital), (self.hospital, self.lab)):
            keep_ring(folder / "home", rings[folder], None)
            public = canonical(rings[other].public().wire())
            peers_of(folder / "home").add(public, other.name)

    def refuse_inside(self, *named: Path) -> None:
        """Check that the demo, which empties its folder, does not delete files of the user.

        Raises:
            InputError: a path is in the demo's folder.
        """
        for path in named:
            if path.resolve().is_relative_to(self.root):
                raise InputError(
                    f"{path} is in {self.root}, which the demo empties; choose another --folder"
                )

    def write_jobs(self, model: Path, recipe: Recipe) -> None:
        """Write the job files to the folders of their parties, and each party's limits."""
        keep = recipe.kept_blocks(model)
        _write_yaml(self.lab / "home" / POLICY, recipe.policy(model))
        if recipe.privacy_policy:
            _write_yaml(self.hospital / "home" / POLICY, recipe.privacy_policy)
        self._write(self.lab / "distill.yaml", HOSPITAL, "emulator", _distill(model, recipe, keep))
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

    def run_stages(self, show: Callable[[Event], None]) -> dict[str, Outcome]:
        """Run the three stages, each as its party, in a process of its own."""
        folders = {"distill": self.lab, "tune": self.hospital, "plug-in": self.lab}
        exchange = self.exchange or (self.root / "exchange").as_uri()
        return {
            name: run_stage(
                folder / f"{name}.yaml", folder / "home", exchange, self._environ(folder), show
            )
            for name, folder in folders.items()
        }

    def _environ(self, folder: Path) -> dict[str, str]:
        """Return the environment variables for the processes of one party."""
        if self.credentials is None:
            return {}
        path = self.credentials / f"{folder.name}.json"
        return {"OFFSITE_EXCHANGE_CREDENTIALS": str(path.resolve())}


def _write_yaml(path: Path, content: dict[str, Any]) -> None:
    with path.open("w", encoding="utf-8") as file:
        YAML().dump(content, file)


def _distill(model: Path, recipe: Recipe, keep: int) -> dict[str, Any]:
    corpus = f"corpus{recipe.suffix}"
    section = {
        "model": model.as_uri(),
        "ends": {"bottom": recipe.ends, "top": recipe.ends},
        "emulator": {"method": "LayerDrop", "blocks": keep, "calibration": corpus},
    }
    if recipe.distill_steps:
        size = recipe.batch_size
        section["training"] = {"corpus": corpus, "steps": recipe.distill_steps, "batchSize": size}
    return {"distill": section}


def _tune(recipe: Recipe, tag: str) -> dict[str, Any]:
    only: dict[str, Any] = {"blockSize": recipe.block_size}
    if recipe.vision:
        only = {"augmentation": recipe.augmentation}
    return {
        "tune": {
            "bundle": f"emulator{tag}",
            "data": {name: f"{name}{recipe.suffix}" for name in ("train", "validation")},
            "training": {
                "steps": recipe.steps,
                "learningRate": recipe.learning_rate,
                "batchSize": recipe.batch_size,
                **only,
            },
            **({} if recipe.epsilon is None else {"privacy": {"epsilon": recipe.epsilon}}),
            "evaluate": f"test{recipe.suffix}",
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
