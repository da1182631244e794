"""The five settings: how good each model is, on the same examples."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from offsite.events import Metric
from offsite.runs import Run
from offsite_cli.report.content import Cell, Part, Party, Plot, Section, Table, Value
from offsite_cli.report.evidence import Comparison, Estimate, Evidence, Gain
from offsite_cli.report.plots import Dot, dot_plot
from offsite_cli.report.svg import Ink
from offsite_cli.report.words import between, number, share

TITLES: Mapping[str, str] = {
    "full_zero_shot": "full model, untouched",
    "full_probe": "full model, untouched, with a linear probe",
    "emulator_zero_shot": "emulator, untouched",
    "emulator_tuned": "emulator, tuned",
    "plug_in": "full model, adapter plugged in",
    "full_fine_tuned": "full model, fine-tuned on the private data",
}
"""The settings in their order."""
_MEANINGS: Mapping[str, str] = {
    "full_zero_shot": "where the model owner starts",
    "full_probe": "where the model owner starts",
    "emulator_zero_shot": "what the data owner receives",
    "emulator_tuned": "what the data owner can use by itself",
    "plug_in": "the result of the exchange",
    "full_fine_tuned": "the most one can gain; needs model and data in one place",
}
_HOLDERS: Mapping[str, Party] = {
    "emulator_zero_shot": "data-owner",
    "emulator_tuned": "data-owner",
    "full_fine_tuned": "both",
}
_COLOURS = (
    "Blue: a model that the model owner has. Orange: one that the data owner has. Violet: one that "
    "neither can make alone. A line is the 95 % interval."
)
_NOTHING = 5e-4
"""A gain that is written as none."""
_INKS = {"model-owner": Ink.MODEL_OWNER, "data-owner": Ink.DATA_OWNER, "both": Ink.BOTH}


def gain_section(evidence: Evidence) -> Section | None:
    """Show how good each model is; None: nothing was measured."""
    parts = [part for each in comparisons(evidence) for part in _parts(each)]
    if not parts:
        return None
    return Section(
        "gain",
        "How good is each model?",
        "The same examples, shown to each model.",
        parts,
    )


def comparisons(evidence: Evidence) -> list["Scored"]:
    """List what was measured on the same examples, the most complete one first."""
    found = list(_of_runs(evidence.runs))
    found.sort(key=lambda each: -len(each.settings))
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
    def lower_is_better(self) -> bool:
        """Whether a smaller value is better."""
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


def _parts(scored: Scored) -> Iterator[Part]:
    finite = {key: each for key, each in scored.settings.items() if each.value is not None}
    if len(finite) > 1:
        yield _plot(scored, finite)
    yield _table(scored)


def _plot(scored: Scored, settings: Mapping[str, Estimate]) -> Plot:
    values = [each.value for each in settings.values() if each.value is not None]
    log = scored.lower_is_better and min(values) > 0 and max(values) / min(values) > 4
    dots = [
        Dot(
            TITLES[key],
            each.value,
            each.interval,
            _INKS[_HOLDERS.get(key, "model-owner")],
            strong=key == "plug_in",
        )
        for key, each in settings.items()
        if each.value is not None
    ]
    better = "lower is better" if scored.lower_is_better else "higher is better"
    axis = f"{scored.of.metric} ({better}{', logarithmic scale' if log else ''})"
    told = "; ".join(f"{dot.label} {number(dot.value)}" for dot in dots)
    return Plot(
        scored.name,
        f"{scored.of.metric.capitalize()} on {scored.of.data}",
        f"{scored.of.metric}, {better}. {told}.",
        dot_plot(scored.name, dots, axis, log=log),
        note=_COLOURS,
    )


def _table(scored: Scored) -> Table:
    seeds = scored.of.seeds > 1
    columns = ["model", scored.of.metric, "95 % interval"]
    if seeds:
        columns.append(f"error, {scored.of.seeds} seeds")
    columns.append("change")
    rows: list[list[Value]] = []
    for key, each in scored.settings.items():
        row: list[Value] = [Cell(TITLES[key], _MEANINGS[key]), _written(each.value)]
        row.append(between(each.interval) or "–")
        if seeds:
            row.append("–" if each.error is None else f"± {number(each.error)}")
        row.append(_change(scored, key))
        rows.append(row)
    return Table(f"{scored.of.metric.capitalize()} of each model", columns, rows, (1, 2, 3, 4))


def _change(scored: Scored, key: str) -> Value:
    """Write the change of a setting: measured in pairs if possible, else that of its value."""
    gain = scored.of.gains.get(key)
    if gain is None:
        return gained(scored, key)
    written = changed(scored, gain.value)
    if gain.interval is not None:
        low, high = gain.interval[::-1] if scored.lower_is_better else gain.interval
        first = changed(scored, low).removesuffix(" points")
        written = f"{written} ({first} to {changed(scored, high)})"
    return Cell(written, f"over: {TITLES.get(gain.over, gain.over)}")


def gained(scored: Scored, key: str) -> str:
    """Write what a setting gains over the full model as it was; empty: it cannot be said."""
    settings = scored.settings
    start = settings.get("full_zero_shot") or settings.get("full_probe")
    end = settings.get(key)
    if start is not None and start is end:
        return "start"
    if start is None or end is None or not start.value or not end.value:
        return ""
    if scored.lower_is_better:
        return changed(scored, math.log(start.value / end.value))
    return changed(scored, end.value - start.value)


def changed(scored: Scored, gain: float) -> str:
    """Write a gain as a change of the metric: of a perplexity in per cent of it."""
    if abs(gain) < _NOTHING:
        return "no change"
    if not scored.lower_is_better:
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


def _written(value: float | None) -> str:
    return "not finite" if value is None else number(value)
