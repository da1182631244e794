"""What was measured of several models on the same examples, and what one gains over another."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from offsite.events import Metric
from offsite.runs import Run
from offsite_cli.report.evidence import Comparison, Estimate, Evidence, Gain
from offsite_cli.report.words import number, share

TITLES: Mapping[str, str] = {
    "full_zero_shot": "full model, untouched",
    "full_probe": "full model, untouched, with a linear probe",
    "emulator_zero_shot": "emulator, untouched",
    "emulator_tuned": "emulator, tuned",
    "plug_in": "full model, adapter plugged in",
    "full_fine_tuned": "full model, fine-tuned on the private data",
}
"""The settings in their order."""
_NOTHING = 5e-4
"""A gain that is written as none."""


def comparisons(evidence: Evidence) -> list["Scored"]:
    """List what was measured on the same examples, the most complete one first."""
    found = list(_of_runs(evidence.runs))
    found.sort(key=lambda each: (each.is_task, -len(each.settings)))
    given = evidence.extras.comparison
    if given is None:
        return found
    others = [each for each in found if not _is_part(each.of, given)]
    return [Scored("comparison", given), *others]


def _is_part(part: Comparison, of: Comparison) -> bool:
    """Whether a comparison has all figures of another one."""
    return part.metric == of.metric and part.settings.items() <= of.settings.items()


@dataclass(frozen=True)
class Scored:
    """Settings on the same examples."""

    name: str
    """Unique in the report."""
    of: Comparison

    @property
    def settings(self) -> Mapping[str, Estimate]:
        """The settings that were measured, in their order."""
        return {key: self.of.settings[key] for key in TITLES if key in self.of.settings}

    @property
    def is_task(self) -> bool:
        """Whether a task of lm-eval was measured, whose metric has its name."""
        return "/" in self.of.metric

    @property
    def lower_is_better(self) -> bool:
        """Whether a smaller value is better."""
        return self.of.metric.endswith(("perplexity", "bits_per_byte"))

    @property
    def is_logarithmic(self) -> bool:
        """Whether gains are differences of the metric's logarithm."""
        return self.of.metric.endswith("perplexity")


def _of_runs(runs: Sequence[Run]) -> Iterator[Scored]:
    """Group what runs measured by the data that they measured it on."""
    groups: dict[tuple[str, str], dict[str, Metric]] = {}
    names: dict[str, str] = {}
    for run in runs:
        names |= {digest: _place(run, name) for name, digest in run.inputs.items()}
        for metric in run.metrics:
            if metric.setting in TITLES:
                groups.setdefault((metric.name, metric.text or ""), {})[metric.setting] = metric
    for index, ((_, digest), metrics) in enumerate(groups.items()):
        data = names.get(digest, "the evaluation data")
        yield Scored(f"scores-{index}", comparison_of(metrics, data))


def _place(run: Run, name: str) -> str:
    """Return where a data set of a job is, as the job says."""
    section = run.spec.get(run.stage[0].lower() + run.stage[1:]) or {}
    return str(section.get(name) or "the evaluation data")


def comparison_of(metrics: Mapping[str, Metric], data: str) -> Comparison:
    """Compare settings by what was measured of each on the same examples."""
    return Comparison(
        metric=next(iter(metrics.values())).name,
        settings={
            key: Estimate(value=each.value, interval=each.interval) for key, each in metrics.items()
        },
        gains={
            key: Gain(over=each.over, value=each.gain, interval=each.gain_interval)
            for key, each in metrics.items()
            if each.over is not None and each.gain is not None
        },
        data=data,
    )


def gained(scored: Scored, key: str) -> str:
    """Write what a setting gains over the full model as it was; empty: it cannot be said."""
    settings = scored.settings
    start = settings.get("full_zero_shot") or settings.get("full_probe")
    end = settings.get(key)
    if start is not None and start is end:
        return "start"
    if start is None or end is None or not start.value or not end.value:
        return ""
    if scored.is_logarithmic:
        return changed(scored, math.log(start.value / end.value))
    return "" if scored.lower_is_better else changed(scored, end.value - start.value)


def changed(scored: Scored, gain: float) -> str:
    """Write a gain as a change of the metric: of a perplexity in per cent of it."""
    if abs(gain) < _NOTHING:
        return "no change"
    if not scored.is_logarithmic:
        return f"{'+' if gain >= 0 else '−'}{abs(100 * gain):.1f} points"
    factor = math.exp(-gain)
    if factor > 2:
        return f"× {number(factor)}"
    return f"{'+' if factor > 1 else '−'}{share(abs(factor - 1))}"


def share_of_gain(comparison: Comparison) -> Estimate | None:
    """Return the share of full fine-tuning's gain that the plug-in reaches; None: not known.

    Of perplexity, gains are differences of its logarithm.
    """
    if comparison.share is not None:
        return comparison.share
    found = comparison.settings
    start = found.get("full_zero_shot") or found.get("full_probe")
    plug, best = found.get("plug_in"), found.get("full_fine_tuned")
    values = [None if each is None else each.value for each in (start, plug, best)]
    first, second, third = values
    if first is None or second is None or third is None or first == third:
        return None
    if comparison.metric.endswith("perplexity"):
        first, second, third = (math.log(value) for value in (first, second, third))
    return Estimate(value=(first - second) / (first - third))
