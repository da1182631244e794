"""Two parties on one disk: a lab that owns a tiny model, a hospital that owns a little text."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch

from offsite.api import Limits, OffsiteJob
from offsite.bundle import MANIFEST, PROVENANCE
from offsite.bundle.manifest import file_digest
from offsite.config import load_job
from offsite.events import Event, Monitor
from offsite.exchange import WHOLE, HomeLedger, Mailbox, Outgoing, Reference, pull, push
from offsite.exchange.home import keep_ring, open_mailbox, peers_of
from offsite.sealing import Envelope, Ring
from offsite.stages.run import run_job
from offsite.steps import Party
from offsite.steps.party import POLICY
from offsite.store.private_store import PrivateStore
from offsite.wire import canonical
from offsite_testing.core import silent
from offsite_testing.events import Wire
from offsite_testing.models import WORDS, save_tiny

# Tiny models gain nothing from threads, and on a busy machine threads wait long for each other.
torch.set_num_threads(1)

LAB, HOSPITAL = "lab", "hospital"
EMULATOR, ADAPTER, PLUGGED = "emulator", "adapter", "plugged"
"""The names of the three jobs, and so of what they publish."""

TINY = Limits(min_examples=1, min_steps=1, min_batch_size=1, min_improvement=-1)
"""What the hospital allows: jobs of tests are tiny."""

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

    def limit(self, party: str, limits: Limits) -> None:
        """Set what a party's jobs may do."""
        content = json.dumps(limits.model_dump(by_alias=True))
        (self.home(party) / "home" / POLICY).write_text(content)

    def published(self, name: str) -> Path:
        """Where a bundle's sealed objects lie that one party sent to the other."""
        sender, recipient = _way(name)
        return self.exchange / sender / recipient / name

    def envelope(self, name: str) -> Envelope:
        """The envelope that the recipient of a bundle would open."""
        sender, recipient = _way(name)
        return self.mailbox(recipient).incoming(sender, Reference(name))

    def opened(self, name: str) -> Path:
        """What is in a bundle, as its recipient sees it; its ledger stays as it is."""
        _, recipient = _way(name)
        folder = Path(mkdtemp(prefix="opened-", dir=self.root.parent))
        mailbox = replace(self.mailbox(recipient), ledger=HomeLedger(folder / "books"))
        target = folder / name
        pull(mailbox, self.envelope(name), target, WHOLE, silent())
        return target

    def resend(self, name: str, change: Callable[[Path], object]) -> None:
        """Send a bundle once more, changed: a manifest true to the files, sealed and signed."""
        sender, recipient = _way(name)
        folder, header = self.opened(name), self.envelope(name).header
        change(folder)
        seal(folder)
        job = f"again-{header.sequence}"
        outgoing = Outgoing(folder, recipient, job, header.parent, header.grant)
        push(self.mailbox(sender), outgoing, silent())

    def digest(self, name: str) -> str:
        """Of what is in a bundle, or of a plugged-in model's files.

        But for the two files that name an envelope, which is another one at every sending.
        """
        plugged = self.home(LAB) / "home/models" / PLUGGED
        found = listing(plugged if name == PLUGGED else self.opened(name))
        return json.dumps({k: v for k, v in found.items() if k not in (MANIFEST, PROVENANCE)})

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
        mailbox = self.mailbox(name)
        private_store = PrivateStore(home / "home/copies", mailbox.store, {})
        return Party.on_this_machine(mailbox.id, home / "home", private_store, home, 60.0)

    def mailbox(self, name: str) -> Mailbox:
        """Open a party's side of the exchange as the command line does."""
        return open_mailbox(self.home(name) / "home", self.exchange.as_uri(), {})

    def run(
        self,
        name: str,
        spec: Mapping[str, Any],
        look: Callable[[Wire], object] = lambda event: None,
    ) -> list[Wire]:
        """Run a job in this process; give its events.

        Args:
            look: called at each event, while the job runs.
        """
        path, events = self.write(name, spec), list[Wire]()
        job: OffsiteJob = load_job(path)
        owner = path.parent.name

        def told(event: Event) -> None:
            events.append(event.wire())
            look(event.wire())

        run_job(job, self.party(owner), self.mailbox(owner), Monitor(told))
        return events

    def run_all(self) -> None:
        """Run all three stages."""
        for name, spec in ((EMULATOR, distill()), (ADAPTER, tune()), (PLUGGED, plug_in())):
            self.run(name, spec)


def seal(folder: Path, *, keep: tuple[str, ...] = (), **over: Any) -> None:
    """Rewrite a manifest so that it matches the files, as a malicious sender can.

    Args:
        keep: files that the manifest is not to name.
        over: other fields of the manifest, by their name on the wire.
    """
    manifest = json.loads((folder / MANIFEST).read_bytes())
    paths = [p for p in folder.iterdir() if p.name not in {MANIFEST, *keep} and p.is_file()]
    files = {p.name: {"sha256": file_digest(p), "size": p.stat().st_size} for p in paths}
    (folder / MANIFEST).write_text(json.dumps({**manifest, "files": files, **over}))


def _way(name: str) -> tuple[str, str]:
    return (LAB, HOSPITAL) if name.startswith(EMULATOR) else (HOSPITAL, LAB)


def new_parties(root: Path, model_type: str = "llama", **model: Any) -> Parties:
    """Give the lab a model and a corpus, the hospital private data."""
    parties = Parties(root)
    lab, hospital = parties.home(LAB), parties.home(HOSPITAL)
    lab.mkdir(parents=True)
    hospital.mkdir()
    introduce(lab, hospital)
    save_tiny(lab / "model", model_type, **model)
    (lab / "corpus.txt").write_text(f"{WORDS}. " * 300, encoding="utf-8")
    rows = [json.dumps({"text": f"{WORDS} {number}"}) for number in range(24)]
    (hospital / "private.jsonl").write_text("\n".join(rows), encoding="utf-8")
    parties.limit(HOSPITAL, TINY)
    (lab / "shared.jsonl").write_text("\n".join(rows[:6]), encoding="utf-8")
    return parties


@cache
def ring_of(party: str) -> Ring:
    """Make the keys of a party, once for all tests."""
    return Ring.new(party)


def introduce(*folders: Path) -> None:
    """Give each party keys, and pin those of all others."""
    for folder in folders:
        keep_ring(folder / "home", ring_of(folder.name), None)
        for other in folders:
            if other != folder:
                public = canonical(ring_of(other.name).public().wire())
                peers_of(folder / "home").add(public, other.name)


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
