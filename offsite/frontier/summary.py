"""Puts the points of a sweep together: which are dominated, and which one is suggested."""

from collections.abc import Sequence

from offsite.frontier.dominance import dominators
from offsite.frontier.points import Frontier, Point, Wanted
from offsite.frontier.suggestion import suggest


def summarize(points: Sequence[Point], metric: str, seeds: int, wanted: Wanted) -> Frontier:
    """Describe a sweep; without a limit, nothing is suggested.

    Args:
        points: At least one.
        metric: What skill and gain were measured by.
    """
    found = suggest(points, wanted) if wanted != Wanted() else None
    point = found.point if found else None
    return Frontier(
        metric=metric,
        seeds=seeds,
        points=tuple(points),
        dominated=dominators(points),
        wanted=wanted,
        suggested=point.number if point else None,
        reason=found.reason if found else None,
    )
