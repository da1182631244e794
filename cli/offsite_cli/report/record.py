"""How the runs went: who ran what and when, the losses, the costs, and the versions."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from offsite.runs import Run
from offsite_cli.report.content import Cell, Note, Part, Plot, Section, Table, Tone, Value
from offsite_cli.report.evidence import Evidence, Extras
from offsite_cli.report.plots import Line, loss_plot
from offsite_cli.report.svg import Ink
from offsite_cli.report.words import duration, number, size

STAGES = {"Distill": "make the emulator", "Tune": "tune the adapter", "PlugIn": "plug it in"}
_TONES: Mapping[str, Tone] = {"Complete": "good", "Failed": "bad"}
_OUTCOMES = {"AwaitingApproval": "waits for an approval"}
_MOST_SETTINGS = 80


def training_section(evidence: Evidence) -> Section | None:
    """Show the loss of each training; None: none reported any."""
    plots = [plot for run in evidence.runs for plot in _curves(run)]
    if not plots:
        return None
    return Section(
        "training",
        "Training",
        "The loss that each training reported: each step thin, the moving average thick.",
        plots,
    )


def _curves(run: Run) -> Iterator[Plot]:
    ink = Ink.DATA_OWNER if run.stage == "Tune" else Ink.MODEL_OWNER
    for index, (phase, points) in enumerate(run.curves.items()):
        if len(points) < 2:
            continue
        name = f"loss-{run.stage.lower()}-{index}"
        first, last = points[0], points[-1]
        yield Plot(
            name,
            f"{phase}, by {run.party}",
            f"Loss {number(first[1])} at step {first[0]}, {number(last[1])} at step {last[0]}.",
            loss_plot(name, Line(phase, points, ink), "loss"),
            Table("Loss by step", ["step", "loss"], _some(points), (0, 1), folded=True),
        )


def _some(points: Sequence[tuple[int, float]]) -> list[list[Value]]:
    stride = -(-len(points) // 20)
    return [[str(step), number(loss)] for step, loss in (*points[:-1:stride], points[-1])]


def cost_section(evidence: Evidence) -> Section:
    """Say what each stage took."""
    extras = evidence.extras
    columns = ["stage", "by", "time", "peak memory", "result", "attempts"]
    if extras.price is not None:
        columns.append("cost")
    rows = [_costs(run, extras) for run in evidence.runs]
    parts: list[Part] = [Table("What each stage took", columns, rows, tuple(range(2, 7)))]
    phases: list[Sequence[Value]] = [
        [phase, run.stage, duration(seconds)]
        for run in evidence.runs
        for phase, seconds in run.seconds.items()
    ]
    if phases:
        parts.append(
            Table("Time of each phase", ["phase", "stage", "time"], phases, (2,), folded=True)
        )
    return Section("cost", "What it cost", parts=parts)


def _costs(run: Run, extras: Extras) -> list[Value]:
    peak, made = run.peak_memory_bytes, run.artifact
    row: list[Value] = [
        Cell(run.stage, STAGES[run.stage]),
        run.party,
        duration(run.duration),
        "–" if peak is None else size(peak),
        "–" if made is None else size(made.size_bytes),
        str(run.attempts),
    ]
    if extras.price is not None:
        row.append(f"{extras.price * run.duration / 3600:.2f} {extras.currency}".strip())
    return row


def jobs_section(evidence: Evidence) -> Section:
    """Say who ran what, when, with which settings and versions, and how it ended."""
    parts: list[Part] = [_runs(evidence.runs)]
    parts += [
        Note(f"{run.job} ({run.party}): {run.error.reason}: {run.error.message}", "bad")
        for run in evidence.runs
        if run.error is not None
    ]
    parts += [_versions(evidence.runs), *(_spec(run) for run in evidence.runs)]
    return Section("jobs", "Jobs and versions", parts=parts)


def _runs(runs: Sequence[Run]) -> Table:
    return Table(
        "Who ran what, and when",
        ["job", "stage", "by", "started (UTC)", "ended (UTC)", "outcome"],
        [
            [
                Cell(run.job, run.id),
                Cell(run.stage, STAGES[run.stage]),
                run.party,
                f"{run.started:%Y-%m-%d %H:%M:%S}",
                _ended(run),
                Cell(_OUTCOMES.get(run.outcome, run.outcome), tone=_TONES.get(run.outcome, "")),
            ]
            for run in runs
        ],
    )


def _ended(run: Run) -> str:
    if run.ended is None:
        return "–"
    same_day = run.ended.date() == run.started.date()
    return f"{run.ended:%H:%M:%S}" if same_day else f"{run.ended:%Y-%m-%d %H:%M:%S}"


def _versions(runs: Sequence[Run]) -> Table:
    names = list(dict.fromkeys(name for run in runs for name in run.versions))
    return Table(
        "Versions",
        ["software", *(run.stage for run in runs)],
        [[name, *(run.versions.get(name, "–") for run in runs)] for name in names],
    )


def _spec(run: Run) -> Table:
    rows = list(_flat("", run.spec))[:_MOST_SETTINGS]
    return Table(
        f"Settings of {run.job} ({run.stage})",
        ["field", "value"],
        [[Cell(name, code=True), value] for name, value in rows],
        folded=True,
    )


def _flat(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """List the values of JSON by their paths."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _flat(f"{path}.{key}" if path else str(key), each)
    elif isinstance(value, list):
        yield path, ", ".join(map(str, value)) or "none"
    elif value is not None:
        yield path, str(value)
