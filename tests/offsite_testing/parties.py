"""Two parties on one disk: a lab that owns a tiny model, a hospital that owns a little text."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from offsite.api import OffsiteJob
from offsite.bundle.manifest import file_digest
from offsite.config import load_job
from offsite.events import Event, Monitor
from offsite.stages import Party, run_job
from offsite.store import FolderExchange
from offsite_testing.models import WORDS, save_tiny

# Tiny models gain nothing from threads, and on a busy machine threads wait long for each other.
torch.set_num_threads(1)

LAB, HOSPITAL = "lab", "hospital"
EMULATOR, ADAPTER, PLUGGED = "emulator", "adapter", "plugged"
"""The names of the three jobs, and so of what they publish."""

HEAD = {"apiVersion": "offsite-tuning.dev/v1alpha1", "kind": "OffsiteJob"}


@dataclass(frozen=True)
class Parties:
    """The folders of two parties and of the exchange between them, under one root."""

    root: Path

    @property
    def exchange(self) -> Path:
        """The exchange point, which both reach."""
        return self.root / "exchange"

    def home(self, party: str) -> Path:
        """The folder that a party has to itself: its home, and its inputs beside its job files."""
        return self.root / party

    def published(self, name: str) -> Path:
        """Where a bundle lies that one party sent to the other."""
        sender, recipient = (LAB, HOSPITAL) if name == EMULATOR else (HOSPITAL, LAB)
        return self.exchange / sender / recipient / name

    def digest(self, name: str) -> str:
        """The digest of a bundle's manifest, or of a plugged-in model's files."""
        if name == PLUGGED:
            return json.dumps(listing(self.home(LAB) / "home/models" / PLUGGED))
        return file_digest(self.published(name) / "manifest.json")

    def write(self, name: str, spec: Mapping[str, Any], *, by: str | None = None) -> Path:
        """Write a job file into the folder of the party whose job it is."""
        owner = by or (HOSPITAL if spec.get("stage") == "Tune" else LAB)
        path = self.home(owner) / f"{name}.yaml"
        job = {**HEAD, "metadata": {"name": name}, "spec": spec}
        path.write_text(json.dumps(job), encoding="utf-8")
        return path

    def party(self, name: str) -> Party:
        """Make a party as the command line does."""
        home = self.home(name)
        return Party(name, home / "home", FolderExchange(self.exchange), home)

    def run(self, name: str, spec: Mapping[str, Any]) -> list[Event]:
        """Run a job in this process; give its events."""
        path, events = self.write(name, spec), list[Event]()
        job: OffsiteJob = load_job(path)
        run_job(job, self.party(path.parent.name), Monitor(events.append))
        return events

    def run_all(self) -> None:
        """Run all three stages."""
        for name, spec in ((EMULATOR, distill()), (ADAPTER, tune()), (PLUGGED, plug_in())):
            self.run(name, spec)


def lay_out(root: Path, model_type: str = "llama", **model: Any) -> Parties:
    """Give the lab a model and a corpus, the hospital private data."""
    parties = Parties(root)
    lab, hospital = parties.home(LAB), parties.home(HOSPITAL)
    lab.mkdir(parents=True)
    hospital.mkdir()
    save_tiny(lab / "model", model_type, **model)
    (lab / "corpus.txt").write_text(f"{WORDS}. " * 300, encoding="utf-8")
    rows = [json.dumps({"text": f"{WORDS} {number}"}) for number in range(24)]
    (hospital / "private.jsonl").write_text("\n".join(rows), encoding="utf-8")
    (lab / "shared.jsonl").write_text("\n".join(rows[:6]), encoding="utf-8")
    return parties


def distill(steps: int | None = 4, **over: Any) -> dict[str, Any]:
    """Write the spec of an emulator: two middle blocks of four, healed and, with steps, trained."""
    section: dict[str, Any] = {
        "model": "model",
        "ends": {"bottom": 1, "top": 1},
        "emulator": {"blocks": 2, "calibration": "corpus.txt"},
        "evaluate": "shared.jsonl",
    }
    if steps is not None:
        size = {"batchSize": 2, "blockSize": 16}
        section["training"] = {"corpus": "corpus.txt", "steps": steps, **size}
    return {"stage": "Distill", "peer": HOSPITAL, "distill": {**section, **over}}


def tune(steps: int = 6, **over: Any) -> dict[str, Any]:
    """Write the spec of an adapter."""
    section: dict[str, Any] = {
        "bundle": EMULATOR,
        "data": {"train": "private.jsonl", "validation": "private.jsonl"},
        "training": {"steps": steps, "batchSize": 2, "blockSize": 32},
    }
    return {"stage": "Tune", "peer": LAB, "tune": {**section, **over}}


def plug_in(**over: Any) -> dict[str, Any]:
    """Write the spec of a plug-in."""
    section = {"model": "model", "adapter": ADAPTER, "evaluate": "shared.jsonl"}
    return {"stage": "PlugIn", "peer": HOSPITAL, "plugIn": {**section, **over}}


def listing(folder: Path) -> dict[str, str]:
    """List everything below a folder: the digest of each file, and every folder."""
    return {
        str(path.relative_to(folder)): file_digest(path) if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }
