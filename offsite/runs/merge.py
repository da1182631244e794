"""Joins records of one run: of its attempts, or of its steps in several pods."""

from collections.abc import Iterable, Mapping, Sequence

from offsite.events import Metric
from offsite.runs.record import Point, Run

MOST_POINTS = 500
"""Points of a curve that are kept."""


def merged(before: Run, after: Run, *, attempts: int | None = None) -> Run:
    """Join two records of one run, the earlier one first.

    Args:
        attempts: Attempts of the run; None: the sum of both records'. Two steps of one attempt
            pass 1.

    Returns:
        The run with the id and the start of `before` and the end of `after`. Where both have a
        value, it is that of `after`; seconds are sums, and a curve continues where the later
        attempt began.
    """
    peaks = [peak for each in (before, after) if (peak := each.peak_memory_bytes) is not None]
    return after.model_copy(
        update={
            "id": before.id,
            "started": before.started,
            "attempts": attempts or before.attempts + after.attempts,
            "fingerprints": {**before.fingerprints, **after.fingerprints},
            "inputs_digest": after.inputs_digest or before.inputs_digest,
            "inputs": {**before.inputs, **after.inputs},
            "duration": before.duration + after.duration,
            "seconds": _sums(before.seconds, after.seconds),
            "curves": _continued(before.curves, after.curves),
            "rates": {**before.rates, **after.rates},
            "metrics": latest([*before.metrics, *after.metrics]),
            "privacy": after.privacy or before.privacy,
            "egress": after.egress or before.egress,
            "artifact": after.artifact or before.artifact,
            "peak_memory_bytes": max(peaks, default=None),
            "versions": {**before.versions, **after.versions},
        }
    )


def latest(metrics: Iterable[Metric]) -> tuple[Metric, ...]:
    """Keep the last value of each figure, in the order in which the figures first came."""
    return tuple({(each.name, each.setting, each.text): each for each in metrics}.values())


def thinned(points: Sequence[Point]) -> tuple[Point, ...]:
    """Keep at most `MOST_POINTS` points at even distances, among them the first and the last."""
    if len(points) <= MOST_POINTS:
        return tuple(points)
    stride = -(-(len(points) - 1) // (MOST_POINTS - 1))
    return (*points[:-1:stride], points[-1])


def _sums(*parts: Mapping[str, float]) -> dict[str, float]:
    keys = {key: None for part in parts for key in part}
    return {key: sum(part.get(key, 0.0) for part in parts) for key in keys}


def _continued(
    before: Mapping[str, Sequence[Point]], after: Mapping[str, Sequence[Point]]
) -> dict[str, tuple[Point, ...]]:
    """Join curves; what a resumed attempt did again counts once."""
    curves = {phase: tuple(points) for phase, points in before.items()}
    for phase, points in after.items():
        kept = [each for each in curves.get(phase, ()) if each[0] < points[0][0]]
        curves[phase] = thinned([*kept, *points])
    return curves
