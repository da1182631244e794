"""What a returned adapter does to the full model, and whether its owner takes that."""

import math
from collections import defaultdict
from collections.abc import Mapping
from statistics import median

from offsite.api import PlugIn
from offsite.errors import BundleError
from offsite.events import Monitor

Changes = Mapping[tuple[int, str], float]
"""How large each change is relative to its weight, by block and name, as `relative_changes`."""
Score = tuple[str, float | None]
"""A metric, and its value; None where it is infinite."""

_ROUNDING = 1e-9
"""10.5 is no more than 5 % above 10."""


def check_changes(changes: Changes, most: float, adapter: str, monitor: Monitor) -> None:
    """Tell how large the change of each weight is, and refuse what is too large.

    Args:
        most: the largest relative change that the party allows.
        adapter: its name.

    Raises:
        BundleError: one is larger.
    """
    by_block: dict[int, list[str]] = defaultdict(list)
    for (block, name), value in sorted(changes.items()):
        by_block[block].append(f"{name} {value:.2g}")
    for block, each in by_block.items():
        monitor.log(f"relative change of block {block}: {', '.join(each)}")
    (block, name), largest = max(changes.items(), key=lambda each: each[1])
    monitor.metric("relative_change", "largest_change", largest)
    monitor.metric("relative_change", "median_change", median(changes.values()))
    if not largest <= most:
        raise BundleError(
            f"the adapter {adapter} changes {name} of block {block} by {largest:.3g} times its "
            f"norm, and this organization allows {most:g} (maxChange); ask for an adapter that is "
            "trained less, or make alpha smaller"
        )


def check_accepted(job: PlugIn, before: Score, after: Score) -> None:
    """Refuse an adapter that makes the full model worse than its owner takes.

    Args:
        before: of the full model, untouched.
        after: of the full model, plugged in.

    Raises:
        BundleError: it does; the message says by how much.
    """
    if job.accept is None:
        return
    most, (metric, old), (_, new) = job.accept.max_regression, before, after
    worse = _worse(metric, old, new)
    if worse <= most + _ROUNDING:
        return
    raise BundleError(
        f"the adapter {job.adapter} makes the model worse by {worse:.1%}: {metric} {_told(old)} "
        f"before, {_told(new)} after; plugIn.accept.maxRegression allows {most:.1%}, so nothing is "
        "exported; ask for another adapter, or make alpha smaller"
    )


def _worse(metric: str, old: float | None, new: float | None) -> float:
    """Say by how much a model became worse; less than nothing if it became better."""
    if new is None:  # a perplexity that is infinite
        return math.inf
    if old is None:
        return -1.0
    return old - new if metric == "accuracy" else new / old - 1


def _told(value: float | None) -> str:
    return "infinite" if value is None else f"{value:.4g}"
