"""The five models of a rehearsal, each made and scored once for the inputs that decide it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from safetensors.torch import save
from torch import Tensor

from offsite.api import Limits
from offsite.bundle import PrivacyFacts
from offsite.layers import Loaded, load
from offsite.plugin import plug_in
from offsite.rehearsal.emulator import Emulator
from offsite.rehearsal.full import fine_tune, probed
from offsite.rehearsal.measuring import forward_flops, measure, read_test
from offsite.rehearsal.result import Measured, Model
from offsite.rehearsal.setting import Setting
from offsite.rehearsal.subject import Subject
from offsite.stages.context import Trainer
from offsite.stages.plug_in import bring_head
from offsite.stages.tuning import Tuning, begin_tuning
from offsite.training.checkpoints import Checkpoints
from offsite.wire import Part

_PRIVATE = ("train", "validation", "test")


class Untouched(Part):
    """A model before it is tuned."""

    measured: Measured
    flops: int
    """Of a forward pass on the first example of the test set."""
    size: int
    """Size of its weights in bytes."""


class FineTuned(Part):
    """The full model, fine-tuned."""

    measured: Measured
    seconds: float


class Tuned(Part):
    """An adapter, in its emulator and in the full model."""

    models: dict[Model, Measured]
    size: int
    """Size of what is sent, in bytes."""
    privacy: PrivacyFacts | None = None
    seconds: dict[str, float]


def full_model(subject: Subject, setting: Setting) -> Untouched:
    """Measure the full model, untouched; with a new head, a linear probe on its features."""
    facts = subject.facts("full_zero_shot", *_PRIVATE, **_head(setting))

    def make(_: str) -> Untouched:
        tuning = probed(load(subject.model), setting.tune, subject.texts, subject.monitor)
        return _untouched(subject, tuning.loaded, "full_zero_shot")

    return subject.kept.once(Untouched, facts, make)


def fine_tuned(subject: Subject, setting: Setting, seed: int) -> FineTuned:
    """Measure the full model, fine-tuned on the private data."""
    more = {**_head(setting), **setting.of_full_model}
    facts = subject.facts("full_fine_tuned", *_PRIVATE, tuningSeed=seed, **more)

    def make(digest: str) -> FineTuned:
        tuning = probed(load(subject.model), setting.tune, subject.texts, subject.monitor)
        test = read_test(subject.data.test, tuning.loaded, subject.monitor)
        began = time.monotonic()
        with _trainer(subject, digest, seed) as trainer:
            fine_tune(tuning, setting.full_learning_rate, trainer)
            seconds = time.monotonic() - began
            measured = measure(tuning.loaded, test, "full_fine_tuned", subject.monitor)
        return FineTuned(measured=measured, seconds=seconds)

    return subject.kept.once(FineTuned, facts, make)


def untouched(subject: Subject, setting: Setting, emulator: Emulator) -> Untouched:
    """Measure an emulator, untouched; a new head is as the adapter's is before it is trained."""
    more = {"emulator": emulator.digest, "private": setting.privacy is not None}
    facts = subject.facts("emulator_zero_shot", *_PRIVATE, **more, **_head(setting))

    def make(_: str) -> Untouched:
        tuning = _begin(subject, setting, emulator)
        tuning.probe((), subject.monitor)
        return _untouched(subject, tuning.loaded, "emulator_zero_shot")

    return subject.kept.once(Untouched, facts, make)


def tuned(subject: Subject, setting: Setting, emulator: Emulator, seed: int) -> Tuned:
    """Tune an adapter in an emulator, plug it into the full model, and measure both."""
    sections = {"tune": setting.tune.wire(), "plugIn": setting.plug_in.wire()}
    more = {"emulator": emulator.digest, "tuningSeed": seed, **sections}
    facts = subject.facts("tuned", *_PRIVATE, **more)

    def make(digest: str) -> Tuned:
        tuning, began = _begin(subject, setting, emulator), time.monotonic()
        test = read_test(subject.data.test, tuning.loaded, subject.monitor)
        tuning.probe((), subject.monitor)
        with _trainer(subject, digest, seed) as trainer:
            changes, privacy = tuning.train((), trainer, Limits())
            seconds = {"tune": time.monotonic() - began}
            found = measure(tuning.loaded, test, "emulator_tuned", subject.monitor)
            began = time.monotonic()
            plugged = _plugged(subject, setting, emulator, tuning, changes)
            seconds["plug_in"] = time.monotonic() - began
        models: dict[Model, Measured] = {"emulator_tuned": found, "plug_in": plugged}
        size = len(save({name: value.cpu().contiguous() for name, value in changes.items()}))
        return Tuned(models=models, size=size, privacy=privacy, seconds=seconds)

    return subject.kept.once(Tuned, facts, make)


def _begin(subject: Subject, setting: Setting, emulator: Emulator) -> Tuning:
    loaded, record = load(emulator.folder), emulator.made.record
    texts, monitor = subject.texts, subject.monitor
    digest = emulator.digest
    return begin_tuning(loaded, setting.tune, setting.ends, record.head, digest, texts, monitor)


def _plugged(
    subject: Subject,
    setting: Setting,
    emulator: Emulator,
    tuning: Tuning,
    changes: dict[str, Tensor],
) -> Measured:
    """Measure the full model with an adapter, as a PlugIn job makes it."""
    loaded = bring_head(load(subject.model), tuning.facts.labels, changes)
    record = emulator.made.record
    if tuning.facts.labels:
        record = record.with_new_head()
    job, dtype = setting.plug_in, loaded.dtype
    scale: dict[str, Any] = {"alpha": job.alpha, "factors": job.alpha_factors, "dtype": dtype}
    plug_in(loaded.model, changes, tuning.facts, record, **scale)
    test = read_test(subject.data.test, loaded, subject.monitor)
    return measure(loaded, test, "plug_in", subject.monitor)


def _untouched(subject: Subject, loaded: Loaded, setting: Model) -> Untouched:
    test = read_test(subject.data.test, loaded, subject.monitor)
    measured = measure(loaded, test, setting, subject.monitor)
    flops = forward_flops(loaded, test.bench)
    return Untouched(measured=measured, flops=flops, size=loaded.size)


@contextmanager
def _trainer(subject: Subject, digest: str, seed: int) -> Iterator[Trainer]:
    """Provide what a training needs; its checkpoint is deleted when the `with` block succeeds."""
    with subject.kept.scratch(digest) as scratch:
        checkpoints = Checkpoints(scratch / "checkpoint.safetensors")
        yield Trainer(seed, checkpoints, subject.monitor)


def _head(setting: Setting) -> dict[str, Any]:
    head = setting.adapter.head
    return {"head": None if head is None else head.wire()}
