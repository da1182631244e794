"""How far figures may be off: bootstrap intervals, paired for models on the same examples.

The intervals have a confidence of 95 %. They take the examples for independent draws and say how
much other examples would change a figure. They do not say how much another seed would.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

CONFIDENCE = 0.95
_RESAMPLES = 999
_AT_ONCE = 1 << 20
"""Numbers that are drawn together; more take more memory."""

Interval = tuple[float, float]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Skill:
    """How good a model is on each example: its skill is Σ amounts / Σ weights; more is better."""

    metric: str
    """The score that it is the skill of."""
    amounts: Floats
    """(N,): 1 for a right answer, or the log-likelihood in nats."""
    weights: Floats
    """(N,): how much each example counts, such as its tokens."""


@dataclass(frozen=True)
class Gain:
    """By how much one model is better than another on the same examples."""

    metric: str
    """The metric that counts: `perplexity`, `accuracy`."""
    value: float
    """More is better. Of a perplexity: the reduction of its logarithm, in nats per token. Of an
    accuracy: the difference."""
    interval: Interval | None
    """None: there is one example, or all examples agree, so resampling says nothing."""


class Share(NamedTuple):
    """The share of one gain in another, on the same examples."""

    value: float
    interval: Interval | None
    """None: as in `Gain`, or the other gain may be nothing, which leaves the share unbounded."""


class Comparable(ABC):
    """A data set on which models are compared example by example."""

    @abstractmethod
    def skill(self, outcomes: Tensor) -> Skill:
        """Compute the skill from the outcomes of all examples, as `Benchmark.scores` gets them."""

    def compare(self, before: Tensor, after: Tensor) -> Gain:
        """Compute the gain of a model over another, with a paired bootstrap interval.

        Args:
            before, after: The outcomes of the two models.
        """
        return gain(self.skill(before), self.skill(after))

    def share(self, start: Tensor, plug: Tensor, best: Tensor) -> Share | None:
        """Compute the share of the best model's gain that another has, both over the same start.

        The interval is a paired bootstrap over the three models.

        Args:
            start, plug, best: The outcomes, such as of the full model untouched, plugged in and
                fine-tuned.

        Returns:
            None if the best model is no better than the start.
        """
        return share_of(self.skill(start), self.skill(plug), self.skill(best))


def share_of(start: Skill, model: Skill, best: Skill) -> Share | None:
    """Compute the share of the best model's gain that a model has; see `Comparable.share`."""
    most = gain(start, best)
    if not most.value > 0:
        return None
    value = gain(start, model).value / most.value
    if most.interval is None or most.interval[0] <= 0:
        return Share(value, None)  # Fieller 1954: a ratio to what may be zero has no bound
    gains = (model.amounts - start.amounts, best.amounts - start.amounts)
    return Share(value, bootstrap(_ratio, *gains))


def mean(skill: Skill) -> float:
    """Compute the skill over all examples."""
    return float(_mean(skill.amounts, skill.weights))


def mean_interval(skill: Skill) -> Interval | None:
    """Compute the bootstrap interval of the skill; None: resampling says nothing."""
    return bootstrap(_mean, skill.amounts, skill.weights)


def bootstrap(statistic: Callable[..., Floats], *columns: Floats) -> Interval | None:
    """Compute the percentile interval of a statistic over examples that are drawn together.

    The random numbers are no secret, and always the same (Efron, Tibshirani 1993, chapter 13).

    Args:
        statistic: It takes the columns and an `axis`.
        columns: (N,) each.

    Returns:
        None if there is one example, or all resamples agree, or a bound is not finite.
    """
    from scipy import stats  # slow to import

    if (count := len(columns[0])) < 2 or not all(np.isfinite(each).all() for each in columns):
        return None
    found = stats.bootstrap(
        columns,
        statistic,
        n_resamples=_RESAMPLES,
        batch=max(1, _AT_ONCE // count),
        vectorized=True,
        paired=True,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    low, high = float(found.low), float(found.high)
    return (low, high) if low < high and math.isfinite(high - low) else None


def gain(before: Skill, after: Skill) -> Gain:
    """Compute by how much a model is better than another; see `Comparable.compare`."""
    value = mean(after) - mean(before)
    columns = (after.amounts - before.amounts, before.weights)
    return Gain(before.metric, value, bootstrap(_mean, *columns))


def _mean(amounts: Floats, weights: Floats, axis: int = -1) -> Floats:
    # examples without a token to predict weigh nothing
    found: Floats = amounts.sum(axis) / np.maximum(weights.sum(axis), 1)
    return found


def _ratio(part: Floats, whole: Floats, axis: int = -1) -> Floats:
    found: Floats = part.sum(axis) / whole.sum(axis)  # the weights cancel out
    return found
