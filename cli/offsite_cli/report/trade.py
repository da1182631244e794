"""The frontier: what other emulators would have gained and given away."""

from collections.abc import Sequence
from typing import Any

from offsite.api import Distill
from offsite.frontier import Candidate, Frontier, Point, Titles
from offsite.frontier import Figure as Measure
from offsite.runs import Run
from offsite_cli.report.content import Cell, Note, Plot, Section, Table, Value
from offsite_cli.report.evidence import Evidence
from offsite_cli.report.plots import Spot, frontier_plot
from offsite_cli.report.words import between, share, size

_PATHS = {"emulator": {"calibration"}, "training": {"corpus"}}


def frontier_section(evidence: Evidence) -> Section | None:
    """Show the frontier and where the emulator that was sent is on it; None: there is none."""
    frontier = evidence.extras.frontier
    if frontier is None:
        return None
    chosen = _sent(frontier, evidence.run("Distill"))
    title = "chosen" if chosen is not None else "suggested"
    marked = frontier.suggested if chosen is None else chosen
    titles = Titles.of(frontier.points)
    return Section(
        "frontier",
        "What other emulators would trade",
        "Each point is an emulator that was tried on stand-in data and never sent. Up is a larger "
        "gain; right is more skill for an attacker. A hollow point is worse than another one in "
        "every respect, or not allowed by the model owner's organization.",
        [
            Plot(
                "frontier-plot",
                "Gain against what an attacker gets back",
                _described(frontier, titles, marked, title),
                frontier_plot(
                    "frontier-plot",
                    [_spot(frontier, point, marked) for point in frontier.points],
                    "skill of an attacker, as a share of the full model's",
                    "share of full fine-tuning's gain",
                    title,
                ),
                note=f"All settings: {titles.shared}." if titles.shared else "",
            ),
            _table(frontier, titles, marked, title),
            *([Note(f"Suggested: {frontier.reason}.")] if frontier.reason else []),
        ],
        party="model-owner",
    )


def _sent(frontier: Frontier, run: Run | None) -> int | None:
    """Find the setting of the emulator that was sent; None: it is none of the frontier's."""
    section = None if run is None else run.spec.get("distill")
    if section is None:
        return None
    job = Distill.model_validate(section)
    sent = Candidate(ends=job.ends, emulator=job.emulator, training=job.training)
    wanted = _plain(sent)
    return next((p.number for p in frontier.points if _plain(p.setting) == wanted), None)


def _plain(candidate: Candidate) -> dict[str, Any]:
    """Return a setting without the places of its data, which are another machine's."""
    sections = candidate.model_dump(mode="json")
    for name, paths in _PATHS.items():
        if sections[name]:
            sections[name] = {k: v for k, v in sections[name].items() if k not in paths}
    return sections


def _spot(frontier: Frontier, point: Point, marked: int | None) -> Spot:
    return Spot(
        str(point.number),
        (point.skill.recovered.value, point.gain.value),
        point.skill.recovered.interval,
        point.gain.interval,
        dominated=point.number in frontier.dominated or point.refused is not None,
        chosen=point.number == marked,
    )


def _described(frontier: Frontier, titles: Titles, marked: int | None, title: str) -> str:
    best = [p.number for p in frontier.points if p.number not in frontier.dominated]
    count = f"{len(frontier.points)} emulators, of which {len(best)} are worse than no other."
    if marked is None:
        return count
    point = frontier.point(marked)
    return (
        f"{count} The {title} one ({titles.each[marked]}) reaches {share(point.gain.value)} of the "
        f"gain and leaves an attacker {share(point.skill.recovered.value)} of the skill."
    )


def _table(frontier: Frontier, titles: Titles, marked: int | None, title: str) -> Table:
    seeds = "one seed" if frontier.seeds == 1 else f"± error over {frontier.seeds} seeds"
    return Table(
        f"Every emulator that was tried: 95 % intervals of the test set, {seeds}",
        ["", "emulator", "gain", "skill as sent", "recovered", "tuned", "size", "FLOPs"],
        [
            _row(frontier, point, titles, title if point.number == marked else "")
            for point in frontier.points
        ],
        (2, 3, 4, 5, 6, 7),
    )


def _row(frontier: Frontier, point: Point, titles: Titles, mark: str) -> Sequence[Value]:
    skill, dominator = point.skill, frontier.dominated.get(point.number)
    notes = [mark, "" if dominator is None else f"worse than {dominator}"]
    refused = "" if point.refused is None else f"not allowed: {point.refused}"
    return [
        str(point.number),
        Cell(
            titles.each[point.number] or "–",
            ", ".join(filter(None, notes)),
            refused,
            tone="good" if mark else "",
        ),
        *(_measured(each) for each in (point.gain, skill.untouched, skill.recovered, skill.tuned)),
        size(point.cost.size_bytes),
        share(point.cost.flops),
    ]


def _measured(measure: Measure) -> Value:
    error = "" if measure.error is None else f"± {share(measure.error)}"
    return Cell(share(measure.value), between(measure.interval, percent=True), error)
