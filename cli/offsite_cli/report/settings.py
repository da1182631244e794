"""The five settings: how good each model is, on the same examples."""

from collections.abc import Iterator, Mapping, Sequence

from offsite_cli.report.comparisons import TITLES, Scored, changed, comparisons, gained
from offsite_cli.report.content import Cell, Part, Party, Plot, Section, Table, Value
from offsite_cli.report.evidence import Estimate, Evidence
from offsite_cli.report.plots import Dot, dot_plot
from offsite_cli.report.svg import Ink
from offsite_cli.report.words import between, number

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
_INKS = {"model-owner": Ink.MODEL_OWNER, "data-owner": Ink.DATA_OWNER, "both": Ink.BOTH}


def gain_section(evidence: Evidence) -> Section | None:
    """Show how good each model is; None: nothing was measured."""
    found = comparisons(evidence)
    parts = [part for each in found if not each.is_task for part in _parts(each)]
    parts += _tasks([each for each in found if each.is_task])
    if not parts:
        return None
    return Section(
        "gain",
        "How good is each model?",
        "The same examples, shown to each model.",
        parts,
    )


def _parts(scored: Scored) -> Iterator[Part]:
    finite = {key: each for key, each in scored.settings.items() if each.value is not None}
    if len(finite) > 1:
        yield _plot(scored, finite)
    yield _table(scored)


def _plot(scored: Scored, settings: Mapping[str, Estimate]) -> Plot:
    values = [each.value for each in settings.values() if each.value is not None]
    log = scored.is_logarithmic and min(values) > 0 and max(values) / min(values) > 4
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
    listed = "; ".join(f"{dot.label} {number(dot.value)}" for dot in dots)
    return Plot(
        scored.name,
        f"{scored.of.metric.capitalize()} on {scored.of.data}",
        f"{scored.of.metric}, {better}. {listed}.",
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


def _tasks(tasks: Sequence[Scored]) -> list[Part]:
    """Show tasks of lm-eval in one table, with a column for each setting."""
    if not tasks:
        return []
    keys = [key for key in TITLES if any(key in each.settings for each in tasks)]
    rows: list[list[Value]] = []
    for task in tasks:
        found = [task.settings.get(key) for key in keys]
        values = ["–" if e is None else Cell(_written(e.value), between(e.interval)) for e in found]
        rows.append([task.of.metric, *values, _change(task, [*task.settings][-1])])
    columns = ["task", *(TITLES[key] for key in keys), "change"]
    return [Table("Tasks, with 95 % intervals", columns, rows, tuple(range(1, len(columns))))]


def _change(scored: Scored, key: str) -> Value:
    """Write the change of a setting: measured in pairs if possible, else that of its value."""
    gain = scored.of.gains.get(key)
    if gain is None:
        return gained(scored, key)
    written = changed(scored, gain.value)
    if gain.interval is not None:
        low, high = gain.interval[::-1] if scored.is_logarithmic else gain.interval
        first = changed(scored, low).removesuffix(" points")
        written = f"{written} ({first} to {changed(scored, high)})"
    return Cell(written, f"over: {TITLES.get(gain.over, gain.over)}")


def _written(value: float | None) -> str:
    return "not finite" if value is None else number(value)
