"""The plot of a sweep: the skill that each setting gives away, against its gain and its cost."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure as Drawing
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from offsite.frontier import Figure, Frontier, Point, Wanted, front

_STYLE: Mapping[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "offsite",  # the same figures give the same file
    "text.parse_math": False,
    "font.size": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
}
_INK, _MUTED, _GRID = "#222222", "#999999", "#dddddd"
_DASHES = (0, (5, 4))


@dataclass(frozen=True)
class _Series:
    """The skill of one model. Its marker tells it apart without its colour."""

    title: str
    marker: str
    colour: str
    skill: Callable[[Point], Figure]
    bound: Callable[[Wanted], float | None] = lambda _: None


# colours that readers with a colour vision deficiency tell apart (Okabe and Ito 2008)
_UNTOUCHED = _Series("emulator, untouched", "o", "#0072b2", lambda point: point.skill.untouched)
_RECOVERED = _Series(
    "emulator, recovered",
    "s",
    "#d55e00",
    lambda point: point.skill.recovered,
    lambda wanted: wanted.max_recovered,
)
_TUNED = _Series(
    "emulator, tuned",
    "^",
    "#009e73",
    lambda point: point.skill.tuned,
    lambda wanted: wanted.max_tuned,
)
_SERIES = (_UNTOUCHED, _RECOVERED, _TUNED)


@dataclass(frozen=True)
class _Panel:
    """What the skill is drawn against."""

    axis: str
    across: Callable[[Point], Figure]
    bound: Callable[[Wanted], float | None]


_PANELS = (
    _Panel(
        "gain, as a share of full fine-tuning's",
        lambda point: point.gain,
        lambda wanted: wanted.min_gain,
    ),
    _Panel(
        "size of the weights, as a share of the full model's",
        lambda point: Figure(value=point.cost.size),
        lambda wanted: wanted.max_size,
    ),
    _Panel(
        "FLOPs for a token, as a share of the full model's",
        lambda point: Figure(value=point.cost.flops),
        lambda wanted: wanted.max_flops,
    ),
)


def draw(frontier: Frontier) -> bytes:
    """Draw a frontier as an SVG file.

    Settings that are dominated or not allowed are hollow, the others have their numbers. The
    suggested one has a ring, and limits are dashed lines. In the panel of the gain, a line joins
    the settings that no other beats in gain and recovered skill together.
    """
    stream = io.BytesIO()
    with rc_context({**_STYLE}):
        drawing = Drawing(figsize=(12, 5.2))
        for axes, panel in zip(drawing.subplots(1, 3, sharey=True), _PANELS, strict=True):
            _fill(axes, panel, frontier)
            _add_limits(axes, panel, frontier.wanted)
        _finish(drawing, frontier.points)
        words = {"Title": "Emulator settings: skill kept, gain and cost", "Date": None}
        drawing.savefig(stream, format="svg", metadata=words, facecolor="white")
    return stream.getvalue()


def _fill(axes: Any, panel: _Panel, frontier: Frontier) -> None:
    in_order = sorted(frontier.points, key=lambda point: panel.across(point).value)
    for place, point in enumerate(in_order):
        hollow = point.number in frontier.dominated or point.refused is not None
        for series in _SERIES:
            _add_mark(axes, series, panel.across(point), series.skill(point), hollow)
        suggested = point.number == frontier.suggested
        if not hollow and (suggested or panel is _PANELS[0]):
            _add_number(axes, panel, point, suggested, above=place % 2 == 0)
    axes.set_xlabel(panel.axis)
    axes.grid(color=_GRID, linewidth=0.6)
    axes.margins(0.1)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))


def _add_mark(axes: Any, series: _Series, across: Figure, up: Figure, hollow: bool) -> None:
    thin = {"color": _MUTED, "linewidth": 0.7, "zorder": 1}
    if across.interval is not None and series is _RECOVERED:
        axes.plot(across.interval, [up.value] * 2, **thin)
    if up.interval is not None:
        axes.plot([across.value] * 2, up.interval, **thin)
    face = "white" if hollow else series.colour
    place = ([across.value], [up.value])
    axes.plot(*place, series.marker, color=series.colour, markerfacecolor=face)


def _add_number(axes: Any, panel: _Panel, point: Point, suggested: bool, *, above: bool) -> None:
    place = (panel.across(point).value, _RECOVERED.skill(point).value)
    if suggested:
        axes.plot(*([each] for each in place), "o", color=_INK, fillstyle="none", markersize=15)
    offset = (-9, 7) if above else (9, -11)
    weight = "bold" if suggested else "normal"
    style = {"color": _INK, "fontsize": 9, "fontweight": weight, "ha": "center"}
    axes.annotate(str(point.number), place, offset, textcoords="offset points", **style)


def _add_limits(axes: Any, panel: _Panel, wanted: Wanted) -> None:
    dashed = {"linewidth": 1.0, "linestyle": _DASHES, "zorder": 0}
    if (bound := panel.bound(wanted)) is not None:
        axes.axvline(bound, color=_INK, **dashed)
    for series in _SERIES:
        if (bound := series.bound(wanted)) is not None:
            axes.axhline(bound, color=series.colour, **dashed)


def _finish(drawing: Drawing, points: Sequence[Point]) -> None:
    first = drawing.axes[0]
    first.set_ylabel("skill kept, as a share of the full model's")
    best = front([(point.gain.value, _RECOVERED.skill(point).value) for point in points])
    first.plot(*zip(*best, strict=True), color=_RECOVERED.colour, linewidth=1.2, zorder=0)
    marks = [
        Line2D([], [], marker=each.marker, color=each.colour, linestyle="", label=each.title)
        for each in _SERIES
    ]
    hollow: Any = {"color": _INK, "markerfacecolor": "white", "linestyle": "", "marker": "o"}
    marks += [
        Line2D([], [], label="dominated or not allowed", **hollow),
        Line2D([], [], label="suggested", markersize=13, **hollow),
        Line2D([], [], color=_INK, linestyle=_DASHES, label="limit"),
        Line2D([], [], color=_MUTED, label="95 % interval"),
    ]
    drawing.legend(handles=marks, loc="lower center", ncols=4, frameon=False)
    drawing.subplots_adjust(left=0.065, right=0.985, top=0.95, bottom=0.25, wspace=0.08)
