"""The plots of a report, drawn with matplotlib. See `svg` for their colours."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from offsite_cli.report.svg import Ink, inline_svg, styled
from offsite_cli.report.words import number, share

_WIDTH = 10.4
"""Inches; the page scales a plot to its own width."""
_SMOOTHED = 9
"""Points of a loss curve that are averaged for the line."""

Interval = tuple[float, float]
Point = tuple[float, float]


@dataclass(frozen=True)
class Dot:
    """A row of a dot plot."""

    label: str
    value: float
    interval: Interval | None = None
    ink: Ink = Ink.MODEL_OWNER
    strong: bool = False


@dataclass(frozen=True)
class Line:
    """A line of a plot with axes."""

    label: str
    points: Sequence[Point]
    ink: Ink = Ink.MODEL_OWNER


@dataclass(frozen=True)
class Spot:
    """A point of a frontier."""

    label: str
    place: Point
    width: Interval | None = None
    """The interval of its first coordinate."""
    height: Interval | None = None
    dominated: bool = False
    chosen: bool = False


def dot_plot(
    name: str, dots: Sequence[Dot], axis: str, *, log: bool = False, percent: bool = False
) -> str:
    """Draw values in rows, with their intervals."""
    write = share if percent else number
    with _axes(name, height=0.62 + 0.42 * len(dots), left=0.38) as (drawing, axes):
        for row, dot in enumerate(dots):
            size = 9 if dot.strong else 7
            if dot.interval is not None:
                axes.plot(dot.interval, [row, row], color=dot.ink, linewidth=2.5)
            axes.plot([dot.value], [row], "o", color=dot.ink, markersize=size)
            axes.annotate(
                write(dot.value),
                (max(dot.value, *(dot.interval or (dot.value,))), row),
                (9, 0),
                textcoords="offset points",
                va="center",
                color=Ink.TEXT,
                fontweight="bold" if dot.strong else "normal",
            )
        axes.set_yticks(range(len(dots)), [dot.label for dot in dots])
        axes.set_ylim(len(dots) - 0.5, -0.5)
        axes.spines["left"].set_visible(False)
        if log:
            _log_axis(axes, "x")
        elif percent:
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: share(value)))
        axes.margins(x=0.14)
        axes.set_xlabel(axis)
        return _finished(drawing, axes, name)


def loss_plot(name: str, line: Line, axis: str) -> str:
    """Draw the loss of a training: each point that was reported, and their moving average."""
    steps, losses = zip(*line.points, strict=True)
    with _axes(name, height=3.0) as (drawing, axes):
        axes.plot(steps, losses, color=Ink.MUTED, linewidth=0.8)
        axes.plot(steps, _smoothed(losses), color=line.ink, linewidth=2.2)
        axes.set_xlabel("training step")
        axes.set_ylabel(axis)
        return _finished(drawing, axes, name)


def roc_plot(name: str, lines: Sequence[Line]) -> str:
    """Draw how many members an attacker finds, against how many others it accuses wrongly."""
    with _axes(name, height=4.8) as (drawing, axes):
        axes.plot([1e-3, 1], [1e-3, 1], color=Ink.MUTED, linewidth=1.2, linestyle=(0, (4, 3)))
        axes.annotate(
            "a guess", (2e-3, 2e-3), (4, -12), textcoords="offset points", color=Ink.MUTED
        )
        axes.axvline(0.01, color=Ink.GRID, linewidth=1.2)
        for line in lines:
            rates, found = zip(*line.points, strict=True)
            axes.plot(rates, found, color=line.ink, linewidth=2.2, drawstyle="steps-post")
        _log_axis(axes, "x")
        _log_axis(axes, "y")
        axes.set_xlim(1e-3, 1)
        axes.set_ylim(1e-3, 1.15)
        axes.set_xlabel("others accused wrongly (false positive rate)")
        axes.set_ylabel("members found (true positive rate)")
        _key(axes, lines)
        return _finished(drawing, axes, name)


def frontier_plot(name: str, spots: Sequence[Spot], across: str, up: str, mark: str) -> str:
    """Draw settings by what they give away and what they gain; the best ones are joined.

    Args:
        mark: What the chosen one is called.
    """
    with _axes(name, height=5.2) as (drawing, axes):
        axes.plot(*zip(*_best(spots), strict=True), color=Ink.MODEL_OWNER, linewidth=1.2)
        for spot in spots:
            _spot(axes, spot, mark)
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        axes.margins(0.12)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: share(value)))
        return _finished(drawing, axes, name)


def _best(spots: Sequence[Spot]) -> list[Point]:
    """Find the points of which no other one is higher without being further to the right."""
    found: list[Point] = []
    for place in sorted((spot.place for spot in spots), key=lambda place: (place[0], -place[1])):
        if not found or place[1] > found[-1][1]:
            found.append(place)
    return found


def _spot(axes: Any, spot: Spot, mark: str) -> None:
    ink = Ink.MUTED if spot.dominated else Ink.MODEL_OWNER
    x, y = spot.place
    if spot.width is not None:
        axes.plot(spot.width, [y, y], color=Ink.GRID, linewidth=1.5, zorder=1)
    if spot.height is not None:
        axes.plot([x, x], spot.height, color=Ink.GRID, linewidth=1.5, zorder=1)
    face = Ink.PAPER if spot.dominated else ink
    axes.plot([x], [y], "o", markersize=7, markeredgewidth=1.6, color=ink, markerfacecolor=face)
    if spot.chosen:
        ring = {"markersize": 15, "markeredgewidth": 2, "markerfacecolor": "none"}
        axes.plot([x], [y], "o", color=Ink.DATA_OWNER, **ring)
    if spot.chosen or not spot.dominated:
        weight = "bold" if spot.chosen else "normal"
        offset = (12, -4) if spot.chosen else (8, -4)
        text = f"{spot.label} ({mark})" if spot.chosen else spot.label
        axes.annotate(
            text, (x, y), offset, textcoords="offset points", color=Ink.TEXT, fontweight=weight
        )


@contextmanager
def _axes(name: str, *, height: float, left: float = 0.085) -> Iterator[tuple[Drawing, Any]]:
    with styled(name):
        drawing = Drawing(figsize=(_WIDTH, height))
        axes = drawing.add_axes((left, 0.62 / height, 0.985 - left, 1 - 0.72 / height))
        yield drawing, axes


def _finished(drawing: Drawing, axes: Any, name: str) -> str:
    axes.tick_params(which="both", length=0, colors=Ink.TEXT, pad=6)
    axes.grid(which="major", color=Ink.GRID, linewidth=0.8)
    for spine in axes.spines.values():
        spine.set_color(Ink.GRID)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(Ink.MUTED)
    return inline_svg(drawing, name)


def _log_axis(axes: Any, which: str) -> None:
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=8))
    axis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    axis.set_minor_formatter(NullFormatter())


def _key(axes: Any, lines: Sequence[Line]) -> None:
    """Name each line in its own colour."""
    for row, line in enumerate(lines):
        axes.annotate(
            line.label,
            (0.03, 0.95 - 0.07 * row),
            xycoords="axes fraction",
            color=line.ink,
            fontweight="bold",
            va="top",
        )


def _smoothed(losses: Sequence[float]) -> list[float]:
    """Average each point with its neighbours; fewer of them at the ends."""
    half = min(_SMOOTHED, len(losses)) // 2
    windows = (losses[max(0, i - half) : i + half + 1] for i in range(len(losses)))
    return [sum(window) / len(window) for window in windows]
