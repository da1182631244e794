"""Makes the emulator of a setting, as a Distill job does, and keeps it on the disk."""

import json
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from offsite.api import Distill
from offsite.bundle import EmulatorFacts, EmulatorRecord
from offsite.emulator import METHODS
from offsite.errors import InputError
from offsite.families import family_of
from offsite.layers import block_count, load, open_lazily
from offsite.rehearsal.setting import Setting
from offsite.rehearsal.subject import Subject
from offsite.stages.context import Trainer
from offsite.stages.emulating import fit_emulator, record_of
from offsite.stages.package import check_sendable, write_emulator
from offsite.steps.answers import rank_of
from offsite.steps.feasibility import check_healable
from offsite.store import check_room, whole_folder
from offsite.training.checkpoints import Checkpoints
from offsite.wire import Part, canonical, digest_of


class Made(Part):
    """An emulator that was made."""

    record: EmulatorRecord
    facts: EmulatorFacts
    size: int
    """Size of its files in bytes, as its bundle has them."""
    seconds: float


@dataclass(frozen=True)
class Emulator:
    """An emulator on the disk."""

    folder: Path
    """A Hugging Face model, as the peer would get it; no watermark is in it."""
    digest: str
    """Of everything that decides it."""
    made: Made


def make_emulator(subject: Subject, setting: Setting) -> Emulator:
    """Make the emulator of a setting, or find it. It is that of a model of which none was sent.

    Raises:
        ModelError, DataError: the model or the corpus cannot be used.
        InterruptedStage: a signal came; training goes on from its checkpoint next time.
    """
    check_setting(subject, setting)
    facts, digest = _identity(subject, setting)
    folder = _folder(subject, digest)
    if not folder.exists():  # the seconds of the last time count
        subject.kept.forget(Made, digest)
    made = subject.kept.once(Made, facts, lambda _: _make(subject, setting, digest, folder))
    return Emulator(folder, digest, made)


def delete_emulator(subject: Subject, setting: Setting) -> None:
    """Delete the emulator of a setting, if it is there; the results stay."""
    _, digest = _identity(subject, setting)
    shutil.rmtree(_folder(subject, digest), ignore_errors=True)


def check_setting(subject: Subject, setting: Setting) -> None:
    """Check, before any work, that a model can have the emulator and the adapter of a setting.

    Raises:
        InputError: the setting needs a corpus, and there is none, or the rank is too large.
        ModelError: the model has too few blocks, or cannot be healed.
    """
    job, config = setting.distill, json.loads((subject.model / "config.json").read_bytes())
    if subject.data.corpus is None and (job.training or job.emulator.heal):
        raise InputError("to heal or distill the emulator needs a corpus (--corpus); name one")
    row = family_of(config)
    _choose(subject, job)
    if job.emulator.heal:
        check_healable(row, config)
    rank_of(setting.adapter, row.linear_sizes(config, setting.adapter.targets))


def _identity(subject: Subject, setting: Setting) -> tuple[dict[str, Any], str]:
    """Return what decides an emulator, and its digest."""
    facts = subject.facts("emulator", "corpus", **setting.of_emulator)
    return facts, digest_of(canonical(facts))


def _folder(subject: Subject, digest: str) -> Path:
    return subject.kept.emulators / digest[7:39]


def _choose(subject: Subject, job: Distill) -> tuple[int, ...]:
    depth = block_count(subject.model)
    return METHODS[job.emulator.method].choose(depth, job.ends, job.emulator, ())


def _make(subject: Subject, setting: Setting, digest: str, folder: Path) -> Made:
    began, job, monitor = time.monotonic(), setting.distill, subject.monitor
    chosen, method = _choose(subject, job), METHODS[job.emulator.method]
    corpus = subject.data.corpus
    texts = {} if corpus is None else {"corpus": corpus, "calibration": corpus}
    with subject.kept.scratch(digest) as scratch:
        # what trains needs all of it in memory
        loaded = load(subject.model) if job.training else open_lazily(subject.model, scratch)
        compressed = method.compress(loaded.model, job.ends, job.emulator, chosen)
        emulator = replace(loaded, model=compressed.model)
        check_sendable(emulator, subject.model)
        check_room(subject.kept.folder, emulator.size)
        checkpoints = Checkpoints(scratch / "checkpoint.safetensors")
        trainer = Trainer(setting.emulator_seed, checkpoints, monitor)
        facts = fit_emulator(loaded, compressed, job, texts, trainer, scratch)
        with whole_folder(folder) as partial:
            write_emulator(emulator, partial)
    record = record_of(compressed, subject.digest, "emulator", "rehearsal")
    size = sum(path.stat().st_size for path in folder.iterdir())
    return Made(record=record, facts=facts, size=size, seconds=time.monotonic() - began)
