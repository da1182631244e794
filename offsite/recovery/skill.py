"""Skill: how much better than chance a model is, as a share of how much the full model is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from offsite.errors import DataError
from offsite.events import Monitor
from offsite.layers import Loaded
from offsite.modality import Benchmark
from offsite.modality.uncertainty import Share, Skill, gain, share_of
from offsite.training.evaluate import outcomes


@dataclass(frozen=True)
class Recovered:
    """The skill of a model on one test set."""

    data: str
    """Name of the test set."""
    metric: str
    value: float
    """The metric of the model."""
    share: Share
    """Its skill as a share of the full model's: 0 is chance, 1 the full model."""


@dataclass(frozen=True)
class _Test:
    bench: Benchmark
    chance: Skill
    full: Skill


@dataclass(frozen=True)
class Yardstick:
    """The skill of the full model on test sets, by which others are measured."""

    tests: Mapping[str, _Test]

    @classmethod
    def of(
        cls,
        full: Loaded,
        benches: Mapping[str, Benchmark],
        corpus: Sequence[Any],
        monitor: Monitor,
    ) -> "Yardstick":
        """Measure the full model.

        A test set on which it is not clearly better than chance is left out; the log says so.

        Args:
            benches: the test sets by name.
            corpus: examples of the modality, to count tokens in: what a guess knows of text.

        Raises:
            DataError: The full model is not better than chance on any of them.
        """
        tests = dict[str, _Test]()
        for name, bench in benches.items():
            if bench.unscored:
                monitor.log(f"skill on {name} is not measured: {bench.unscored}")
                continue
            found = outcomes(full, bench.examples, bench.outcomes, monitor, f"full: {name}")
            test = _Test(bench, bench.chance(corpus), bench.skill(found))
            if _is_above(test.full, test.chance):
                tests[name] = test
            else:
                monitor.log(f"skill on {name} is not measured: the full model is at chance there")
        if not tests:
            raise DataError(
                f"the full model is no better than chance on {' or '.join(benches)}, so it has no "
                "skill there to recover; use more data, or data that the model was made for"
            )
        return cls(tests)

    def measure(self, model: Loaded, monitor: Monitor, phase: str) -> list[Recovered]:
        """Measure a model on all test sets.

        Args:
            phase: what progress calls it.
        """
        recovered = list[Recovered]()
        for name, test in self.tests.items():
            bench = test.bench
            found = outcomes(model, bench.examples, bench.outcomes, monitor, f"{phase}: {name}")
            share = share_of(test.chance, bench.skill(found), test.full)
            assert share is not None, "the full model is better than chance"
            score = bench.scores(found)[0]
            recovered.append(Recovered(name, score.metric, score.value, share))
        return recovered


def _is_above(full: Skill, chance: Skill) -> bool:
    """Whether a model is better than chance, with a confidence of 95 %."""
    above = gain(chance, full)
    if above.interval is None:  # all examples agree, or there is one
        return above.value > 0 and len(full.amounts) > 1
    return above.interval[0] > 0
