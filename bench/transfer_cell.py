"""One cell of `bench/transfer.py`: an adapter, its emulator, and what each scale makes of it."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from torch import Tensor

from offsite.api import AlphaAuto, AlphaFactors, Limits, TuneTraining
from offsite.events import Monitor
from offsite.families import Targets
from offsite.layers import Loaded, load
from offsite.plugin import trying
from offsite.rehearsal import Setting
from offsite.rehearsal.emulator import make_emulator
from offsite.rehearsal.measuring import read_test
from offsite.rehearsal.models import fine_tuned
from offsite.rehearsal.subject import Subject
from offsite.rows import DataFile
from offsite.stages.context import Trainer
from offsite.stages.evaluation import Evaluation
from offsite.stages.scaling import Returned, choose_scale
from offsite.stages.tuning import begin_tuning
from offsite.steps.scale import Scale
from offsite.training.checkpoints import Checkpoints
from offsite.training.evaluate import examined, mean_loss
from offsite.wire import Part, canonical, digest_of

FIXED = {
    "1": Scale(alpha=1.0),
    **{f"{a:g}": Scale(alpha=a) for a in (0.9, 0.8, 0.7, 0.6)},
    **{
        f"{name} {value:g}": Scale(
            alpha=1.0, factors=AlphaFactors.model_validate({name: float(value)})
        )
        for name, values in {
            "attention": (0.8, 0.6, 0.4, 0.2, 0),
            "mlp": (0.8, 0.6),
            "ends": (0.8, 0.6),
            "middle": (0.8, 0.6),
        }.items()
        for value in values
    },
}
"""Scales that the author of a job sets. Factors without effect on an adapter are measured, too."""
RULES = {"auto": None, "auto, at most 50 % worse": 0.5}
"""The rule, by what the owner's own data may lose."""
MEAN = "mean of two emulators"


class Outcome(Part):
    """A model on the test set, compared with the untouched full model."""

    value: float
    gain: float
    """Nats per token, or a difference of accuracies; more is better."""
    share: float | None
    """Of the gain of full fine-tuning; None: it was not measured, or has no gain."""


class Cell(Part):
    """An adapter in its emulator and, at each scale, in the full model."""

    data: str
    seed: int
    targets: Targets
    steps: int
    metric: str
    validation: float
    """Validation loss of the tuned emulator, in nats per target."""
    tuned: Outcome
    plugged: dict[str, Outcome]
    chosen: dict[str, str]
    """What each rule chose."""
    size: int
    """Bytes of the adapter's numbers."""


@dataclass(frozen=True)
class Plan:
    """What a cell is made from."""

    subject: Subject
    data: str
    own: DataFile
    """The model owner's own data, which the emulator was not made with."""
    settings: tuple[Setting, ...]
    """Of one emulator, or of two whose changes are averaged; the first is the cell's."""
    targets: Targets
    steps: int
    seed: int
    upper_bound: bool
    fixed: Mapping[str, Scale]
    """Those of `FIXED` that are measured."""

    def run(self) -> Cell:
        """Measure the cell, or read it if it was measured before."""
        wire = [setting.wire() for setting in self.settings]
        facts = self.subject.facts(
            "transfer",
            *("train", "validation", "test", "corpus"),
            settings=wire,
            name=self.data,
            targets=self.targets,
            steps=self.steps,
            seed=self.seed,
            full=self.upper_bound,
            choices=[*self.fixed, *RULES],
        )
        return self.subject.kept.once(Cell, facts, lambda _: self._make())

    def _make(self) -> Cell:
        full, monitor = load(self.subject.model), self.subject.monitor
        test = read_test(self.subject.data.test, full, monitor)
        judge = _Judge(test, examined(full, test.bench, monitor, "full"), self._best(), monitor)
        adapters, tuned, validation = self._adapters(judge)
        own = Evaluation.read(self.own, full, monitor)
        plugged, chosen = dict[str, Outcome](), dict[str, str]()
        for name, scale in self.fixed.items():
            plugged[name] = judge.plugged(full, [(adapters[0], scale)])
        for name, most in RULES.items():
            auto = AlphaAuto(data="own.jsonl", max_regression=most)
            scale = choose_scale(full, adapters[0], Scale(alpha=1.0), auto, own, monitor)
            plugged[name], chosen[name] = judge.plugged(full, [(adapters[0], scale)]), str(scale)
        if len(adapters) > 1:
            share = Scale(alpha=1 / len(adapters))
            plugged[MEAN] = judge.plugged(full, [(adapter, share) for adapter in adapters])
        return Cell(
            data=self.data,
            seed=self.seed,
            targets=self.targets,
            steps=self.steps,
            metric=test.bench.scores(judge.start)[0].metric,
            validation=validation,
            tuned=tuned,
            plugged=plugged,
            chosen=chosen,
            size=sum(value.numel() * 4 for value in adapters[0].tensors.values()),
        )

    def _best(self) -> Tensor | None:
        if not self.upper_bound:
            return None
        # with the demo's number of steps, whatever those of the adapter are
        return fine_tuned(self.subject, self.settings[0], self.seed).measured.tensor

    def _adapters(self, judge: "_Judge") -> tuple[list[Returned], Outcome, float]:
        made = [self._tune(setting, judge) for setting in self.settings]
        return [adapter for adapter, _, _ in made], made[0][1], made[0][2]

    def _tune(self, setting: Setting, judge: "_Judge") -> tuple[Returned, Outcome, float]:
        subject, monitor = self.subject, self.subject.monitor
        emulator = make_emulator(subject, setting)
        adapter = setting.adapter.model_copy(update={"targets": self.targets})
        training = TuneTraining.model_validate({**dict(setting.tuning), "steps": self.steps})
        job = setting.tune.model_copy(update={"adapter": adapter, "training": training})
        record, loaded = emulator.made.record, load(emulator.folder)
        tuning = begin_tuning(
            loaded, job, setting.ends, record.head, emulator.digest, subject.texts, monitor
        )
        digest = digest_of(canonical([job.wire(), emulator.digest, self.seed, subject.digests]))
        with subject.kept.scratch(digest) as scratch:
            trainer = Trainer(self.seed, Checkpoints(scratch / "checkpoint.safetensors"), monitor)
            changes, _ = tuning.train((), trainer, Limits())
        tuned = judge.outcome(tuning.loaded)
        validation = mean_loss(tuning.loaded, tuning.held_out, monitor)
        return Returned(changes, tuning.facts, record), tuned, validation


@dataclass(frozen=True)
class _Judge:
    """Scores models on the test set, against the untouched and the fine-tuned full model."""

    test: Evaluation
    start: Tensor
    best: Tensor | None
    monitor: Monitor

    def outcome(self, loaded: Loaded) -> Outcome:
        bench = self.test.bench
        found = examined(loaded, bench, self.monitor, "test")
        share = None if self.best is None else bench.share(self.start, found, self.best)
        return Outcome(
            value=bench.scores(found)[0].value,
            gain=bench.compare(self.start, found).value,
            share=None if share is None else share.value,
        )

    def plugged(self, full: Loaded, parts: list[tuple[Returned, Scale]]) -> Outcome:
        with ExitStack() as stack:
            for adapter, scale in parts:
                stack.enter_context(
                    trying(
                        full.model,
                        adapter.tensors,
                        adapter.facts,
                        adapter.record,
                        alpha=scale.alpha,
                        factors=scale.factors,
                        dtype=full.dtype,
                    )
                )
            return self.outcome(full)
