"""Judges a returned adapter by what it does to the full model."""

import math
from collections import defaultdict
from collections.abc import Mapping
from statistics import median

from offsite.api import PlugIn
from offsite.bundle.changes import Place, check_change
from offsite.errors import BundleError
from offsite.events import Monitor
from offsite.stages.evaluation import Reported

_ROUNDING = 1e-9
"""10.5 is no more than 5 % above 10."""


def judge_changes(
    changes: Mapping[Place, float], most: float, adapter: str, monitor: Monitor
) -> None:
    """Tell how large the change of each weight is, and refuse what is too large.

    Args:
        changes: as `plug_in` gives them.
        most: the largest that the party allows.
        adapter: its name.

    Raises:
        BundleError: one is larger.
    """
    by_block: dict[int | None, list[str]] = defaultdict(list)
    for place in sorted(changes, key=lambda place: place.order):
        by_block[place.block].append(f"{place.name} {changes[place]:.2g}")
    for block, each in by_block.items():
        where = "what is outside the blocks" if block is None else f"block {block}"
        monitor.log(f"relative change of {where}: {', '.join(each)}")
    monitor.metric("relative_change", "largest_change", max(changes.values()))
    monitor.metric("relative_change", "median_change", median(changes.values()))
    check_change(changes, most, adapter)


def check_accepted(job: PlugIn, before: Reported | None, after: Reported | None) -> None:
    """Refuse an adapter that makes the full model worse than its owner takes.

    Args:
        before: of the full model, untouched; None: it cannot be scored.
        after: of the full model, plugged in.

    Raises:
        BundleError: it does, and the message says by how much; or nothing can be said of that.
    """
    if job.accept is None:
        return
    if before is None or after is None:
        raise BundleError(
            f"the adapter {job.adapter} cannot be judged, which plugIn.accept asks for: the model "
            "cannot be scored on plugIn.evaluate (the log says why); use other data, or remove "
            "accept"
        )
    most, metric = job.accept.max_regression, after.metric
    old, new = before.value, after.value
    worse = regression(metric, old, new)
    if worse <= most + _ROUNDING:
        return
    raise BundleError(
        f"the adapter {job.adapter} makes the model worse by {worse:.1%}: {metric} {_text(old)} "
        f"before, {_text(new)} after; plugIn.accept.maxRegression allows {most:.1%}, so nothing is "
        "exported; ask for another adapter, or make alpha smaller"
    )


def regression(metric: str, old: float | None, new: float | None) -> float:
    """Compute by how much a model became worse; less than nothing if it became better.

    Of a perplexity: its relative increase. Of an accuracy: the difference.

    Args:
        old, new: None: an infinite perplexity.
    """
    if new is None:  # a perplexity that is infinite
        return math.inf
    if old is None:
        return -1.0
    return old - new if metric == "accuracy" else new / old - 1


def _text(value: float | None) -> str:
    return "infinite" if value is None else f"{value:.4g}"
