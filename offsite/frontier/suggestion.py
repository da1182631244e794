"""Suggests a setting for the limits that an owner wants to keep."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from offsite.frontier.points import Point


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
class Wanted:
    """The limits of an owner, as shares of the full model's; None: no limit."""

    min_gain: float | None = None
    max_recovered: float | None = None
    max_tuned: float | None = None
    max_size: float | None = None
    max_flops: float | None = None

    def limits(self, point: Point) -> Iterator[tuple[Limit, float]]:
        """List the limits that are set, each with the point's figure."""
        skill, cost = point.skill, point.cost
        rows = (
            (self.min_gain, point.gain.value, "gain recovered", True),
            (self.max_recovered, skill.recovered.value, "recovered skill", False),
            (self.max_tuned, skill.tuned.value, "tuned skill", False),
            (self.max_size, cost.size, "size", False),
            (self.max_flops, cost.flops, "FLOPs", False),
        )
        for bound, value, title, least in rows:
            if bound is not None:
                yield Limit(title, bound, least), value

    @property
    def any(self) -> bool:
        """Whether a limit is set."""
        return self != Wanted()

    @property
    def gain_alone(self) -> bool:
        """Whether the gain is all that is limited."""
        return self == Wanted(min_gain=self.min_gain)


@dataclass(frozen=True)
class Suggestion:
    """The best setting within the limits."""

    point: Point | None
    """None: no setting meets all limits."""
    reason: str


def suggest(points: Sequence[Point], wanted: Wanted) -> Suggestion:
    """Pick the point with the highest gain that meets all limits.

    If the gain alone is limited, picks the one with the lowest recovered skill. A suggested point
    is never dominated: a point that dominates it meets the same limits.

    Args:
        points: At least one.
        wanted: At least one limit is set.
    """
    meeting = [p for p in points if all(limit.is_met(value) for limit, value in wanted.limits(p))]
    if not meeting:
        return Suggestion(None, _nearest(points, wanted))
    if wanted.gain_alone:
        chosen = min(meeting, key=lambda p: (p.skill.recovered.value, p.objectives))
        return Suggestion(chosen, f"the lowest recovered skill of {_count(meeting, points)}")
    chosen = min(meeting, key=lambda point: point.objectives)
    return Suggestion(chosen, f"the highest gain of {_count(meeting, points)}")


def _count(meeting: Sequence[Point], points: Sequence[Point]) -> str:
    return f"the {len(meeting)} of {len(points)} settings that meet every limit"


def _nearest(points: Sequence[Point], wanted: Wanted) -> str:
    """Say how near a point comes to each limit that none meets."""
    columns = zip(*(wanted.limits(point) for point in points), strict=True)
    missed = []
    for column in columns:
        limit = column[0][0]
        values = [value for _, value in column]
        nearest = max(values) if limit.least else min(values)
        if not limit.is_met(nearest):
            number = points[values.index(nearest)].number
            missed.append(f"{limit}, and the nearest is setting {number} with {nearest:.0%}")
    if missed:
        return f"no setting meets: {'; '.join(missed)}"
    return "no setting meets all limits at once, though each is met by one; relax a limit"
