"""Rehearses an exchange: all three stages of one setting, and the five models on the test set."""

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from offsite.events import Monitor
from offsite.layers import limit_threads, load
from offsite.rehearsal.emulator import check_setting, make_emulator
from offsite.rehearsal.keeping import Kept
from offsite.rehearsal.models import fine_tuned, full_model, tuned, untouched
from offsite.rehearsal.result import Gain, Measured, Model, Rehearsed, Sizes
from offsite.rehearsal.setting import Setting, Splits
from offsite.rehearsal.subject import Subject
from offsite.rehearsal.summary import Repeated
from offsite.stages.evaluation import Evaluation

_DATA = ("train", "validation", "test", "corpus")


def rehearse(
    model: Path,
    setting: Setting,
    data: Splits,
    seed: int,
    monitor: Monitor,
    *,
    folder: Path,
    upper_bound: bool = True,
) -> Rehearsed:
    """Run the three stages of one setting in this process, and score all models on the test set.

    Args:
        model: Folder of the full model.
        seed: Of the tuning, and of the fine-tuning of the full model. The emulator has its own.
        folder: Where results are kept. What is there already is not done again. What settings have
            in common, such as the fine-tuning of the full model, is done once for each seed.
        upper_bound: Whether to fine-tune the full model, too.

    Raises:
        OffsiteError: The model or the data cannot be used, or another process uses the folder.
        InterruptedStage: A signal came; the same call goes on from the last checkpoint.
    """
    limit_threads()
    subject = Subject(model, data, Kept(folder), monitor)
    facts = subject.facts("rehearsed", *_DATA, **setting.decisive, seeds=[seed], full=upper_bound)

    def make(digest: str) -> Rehearsed:
        check_setting(subject, setting)
        subject.check()
        return _rehearse(subject, setting, seed, digest, upper_bound)

    with subject.kept.open():
        return subject.kept.once(Rehearsed, facts, make)


def repeat(
    model: Path,
    setting: Setting,
    data: Splits,
    seeds: Sequence[int],
    monitor: Monitor,
    *,
    folder: Path,
    upper_bound: bool = True,
) -> Repeated:
    """Rehearse one setting with several seeds. They share the emulator.

    The arguments and errors are those of `rehearse`.
    """
    found = []
    for number, seed in enumerate(seeds, 1):
        monitor.log(f"rehearsal {number} of {len(seeds)}, with seed {seed}")
        run = rehearse(model, setting, data, seed, monitor, folder=folder, upper_bound=upper_bound)
        found.append(run)
    return Repeated(runs=tuple(found))


def delete_emulators(folder: Path) -> None:
    """Delete the emulators that rehearsals keep for each other; the results stay."""
    kept = Kept(folder)
    with kept.open():
        shutil.rmtree(kept.emulators, ignore_errors=True)


def _rehearse(
    subject: Subject, setting: Setting, seed: int, digest: str, upper_bound: bool
) -> Rehearsed:
    full = full_model(subject, setting)  # reads all data, so what is wrong with it comes first
    emulator = make_emulator(subject, setting)
    before = untouched(subject, setting, emulator)
    after = tuned(subject, setting, emulator, seed)
    models: dict[Model, Measured] = {"full_zero_shot": full.measured}
    models |= {"emulator_zero_shot": before.measured, **after.models}
    seconds = {"distill": emulator.made.seconds, **after.seconds}
    if upper_bound:
        best = fine_tuned(subject, setting, seed)
        models["full_fine_tuned"] = best.measured
        seconds["fine_tune"] = best.seconds
    gains, share = _gains(subject, models)
    return Rehearsed(
        digest=digest,
        model=subject.digest,
        data=subject.digests,
        setting=setting,
        seed=seed,
        models=models,
        gains=gains,
        share=share,
        sizes=Sizes(model=full.size, emulator=emulator.made.size, adapter=after.size),
        relative_flops=before.flops / full.flops,
        privacy=after.privacy,
        seconds=seconds,
    )


def _gains(
    subject: Subject, models: Mapping[Model, Measured]
) -> tuple[dict[Model, Gain], Gain | None]:
    """Compare all models with the untouched full one, on the same examples."""
    # of images it has no classes, which comparing does not need
    bench = Evaluation.read(subject.data.test, load(subject.model), subject.monitor).bench
    found = {name: each.tensor for name, each in models.items()}
    start, gains = found.pop("full_zero_shot"), dict[Model, Gain]()
    for name, outcomes in found.items():
        gain = bench.compare(start, outcomes)
        if math.isfinite(gain.value):
            gains[name] = Gain(value=gain.value, interval=gain.interval)
    best = found.get("full_fine_tuned")
    share = None if best is None else bench.share(start, found["plug_in"], best)
    return gains, None if share is None else Gain(value=share.value, interval=share.interval)
