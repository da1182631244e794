"""Suggests a setting for the limits that an owner wants to keep."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from offsite.frontier.points import Point, Wanted


@dataclass(frozen=True)
class Limit:
    """A bound on one figure of a point."""

    title: str
    bound: float
    least: bool = False
    """Whether the figure must be at least the bound; otherwise, at most."""

    def is_met(self, value: float) -> bool:
        """Return whether a value keeps the bound."""
        return value >= self.bound if self.least else value <= self.bound

    def __str__(self) -> str:
        """Describe the bound in words."""
        return f"{self.title} {'at least' if self.least else 'at most'} {self.bound:.0%}"


@dataclass(frozen=True)
class Suggestion:
    """The best setting within the limits."""

    point: Point | None
    """None: no setting meets all limits."""
    reason: str


def suggest(points: Sequence[Point], wanted: Wanted) -> Suggestion:
    """Pick the point with the highest gain that meets all limits.

    If the gain alone is limited, picks the one with the lowest recovered skill. A suggested point
    is allowed, and never dominated: a point that dominates it meets the same limits.

    Args:
        points: At least one.
        wanted: At least one limit is set.
    """
    allowed = [point for point in points if point.refused is None]
    if not allowed:
        return Suggestion(None, "this organization allows none of the settings")
    meeting = [p for p in allowed if all(limit.is_met(value) for limit, value in limits(p, wanted))]
    if not meeting:
        return Suggestion(None, _nearest(allowed, wanted))
    found = f"of the {len(meeting)} of {len(points)} settings that are allowed and meet every limit"
    if wanted == Wanted(min_gain=wanted.min_gain):
        chosen = min(meeting, key=lambda point: (point.skill.recovered.value, point.objectives))
        return Suggestion(chosen, f"the lowest recovered skill {found}")
    chosen = min(meeting, key=lambda point: point.objectives)
    return Suggestion(chosen, f"the highest gain {found}")


def limits(point: Point, wanted: Wanted) -> Iterator[tuple[Limit, float]]:
    """List the limits that are set, each with the point's figure."""
    skill, cost = point.skill, point.cost
    rows = (
        (wanted.min_gain, point.gain.value, "gain", True),
        (wanted.max_recovered, skill.recovered.value, "recovered skill", False),
        (wanted.max_tuned, skill.tuned.value, "tuned skill", False),
        (wanted.max_size, cost.size, "size", False),
        (wanted.max_flops, cost.flops, "FLOPs", False),
    )
    for bound, value, title, least in rows:
        if bound is not None:
            yield Limit(title, bound, least), value


def _nearest(points: Sequence[Point], wanted: Wanted) -> str:
    """Say how near a point comes to each limit that none meets."""
    missed = []
    for column in zip(*(limits(point, wanted) for point in points), strict=True):
        limit, values = column[0][0], [value for _, value in column]
        nearest = max(values) if limit.least else min(values)
        if not limit.is_met(nearest):
            number = points[values.index(nearest)].number
            missed.append(f"{limit}, and the nearest is setting {number} with {nearest:.0%}")
    if missed:
        return f"no setting meets: {'; '.join(missed)}"
    return "no setting meets all limits at once, though each is met by one; relax a limit"
