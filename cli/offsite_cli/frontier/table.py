"""The table of a sweep, for a terminal."""

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from offsite.frontier import Figure, Frontier, Point, Titles
from offsite.text import printable

_NUMBERS = ("gain", "untouched", "recovered", "tuned", "size", "FLOPs")
_WORDS = (
    "gain: what the plug-in reaches of full fine-tuning's gain",
    "untouched, recovered, tuned: skill of the emulator as a share of the full model's, above "
    "chance.\n  Recovered: the best model that attacks with public data made of it",
    "size, FLOPs: of the weights, and for a token, as a share of the full model's",
    "dominated: the other setting gains as much, gives away as little and costs as little",
)


def show_frontier(frontier: Frontier, console: Console) -> None:
    """Print one line for each setting, in the order of the sweep."""
    titles = Titles.of(frontier.points)
    table = Table(title=_heading(frontier, titles))
    table.add_column("", justify="right")
    table.add_column("setting")
    for name in _NUMBERS:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for point in frontier.points:
        words = printable(titles.each[point.number])
        style = "dim" if point.refused or point.number in frontier.dominated else ""
        table.add_row(
            str(point.number), words, *_figures(point), _mark(point, frontier), style=style
        )
    console.print(table)
    spread = ("± : the standard error over seeds",) if frontier.seeds > 1 else ()
    for line in (*_WORDS, *spread):
        console.print(line, style="dim")


def _heading(frontier: Frontier, titles: Titles) -> str:
    seeds = "1 seed" if frontier.seeds == 1 else f"{frontier.seeds} seeds"
    return f"{printable(titles.shared)} ({frontier.metric}, {seeds})"


def _figures(point: Point) -> Iterator[str]:
    skill, cost = point.skill, point.cost
    for figure in (point.gain, skill.untouched, skill.recovered, skill.tuned):
        yield _told(figure)
    yield f"{100 * cost.size:.0f} %"
    yield f"{100 * cost.flops:.0f} %"


def _told(figure: Figure) -> str:
    error = "" if figure.error is None else f" ± {100 * figure.error:.1f}"
    return f"{100 * figure.value:.0f}{error} %"


def _mark(point: Point, frontier: Frontier) -> str:
    if point.number == frontier.suggested:
        return "suggested"
    if point.refused is not None:
        return "not allowed"
    better = frontier.dominated.get(point.number)
    return "" if better is None else f"dominated by {better}"
