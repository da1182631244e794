"""Which points another one makes pointless."""

from collections.abc import Sequence

from offsite.frontier.points import Point


def dominators(points: Sequence[Point]) -> dict[int, int]:
    """Find the dominated points, and for each a point that dominates it and is itself undominated.

    A point is dominated if another one is at least as good in all its objectives and better in one:
    it gains as much, gives away as little, and costs as little. A point that this organization does
    not allow dominates none.

    Returns:
        Numbers of the dominated points, with those of their dominators. Of several dominators, the
        one that gains most.
    """
    allowed = [point for point in points if point.refused is None]
    best = [point for point in allowed if not any(_dominates(each, point) for each in allowed)]
    best.sort(key=lambda point: point.objectives)
    found: dict[int, int] = {}
    for point in points:
        better = next((each.number for each in best if _dominates(each, point)), None)
        if better is not None:
            found[point.number] = better
    return found


def front(pairs: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the pairs (gain, leak) that no other pair dominates, by rising gain.

    A pair is better the higher its gain and the lower its leak.
    """
    kept: list[tuple[float, float]] = []
    for gain, leak in sorted(set(pairs), key=lambda pair: (-pair[0], pair[1])):
        if not kept or leak < kept[-1][1]:
            kept.append((gain, leak))
    return kept[::-1]


def _dominates(one: Point, other: Point) -> bool:
    mine, theirs = one.objectives, other.objectives
    pairs = list(zip(mine, theirs, strict=True))
    return mine != theirs and all(a <= b for a, b in pairs)
