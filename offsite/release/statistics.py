"""Statistics of membership: AUC, TPR at 1 % FPR, and a lower bound on ε. No torch."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from offsite.release.figures import Estimate

Scores = NDArray[np.float64]
"""A score for each example, (N,): the larger, the more likely it was trained on."""

CONFIDENCE = 0.95
_RESAMPLES = 999
_MOST_POINTS = 200
_LARGEST_EPSILON = 50.0
_GUESSED = (1.0, 0.5, 0.25, 0.125)
"""Shares of the canaries that are guessed; each gives a bound, and the best one counts."""


def auc(members: Scores, others: Scores) -> Estimate:
    """Estimate the probability that a member has a larger score than another example.

    The interval is a percentile bootstrap. Its random numbers are no secret. It is 0 to 1 where
    there is one member, or one other: how many there are must not make the job fail.
    """
    value = float(_auc(members, others))
    if min(len(members), len(others)) < 2:
        return Estimate(value=value, low=0.0, high=1.0)
    found = stats.bootstrap(
        (members, others),
        _auc,
        n_resamples=_RESAMPLES,
        batch=100,
        vectorized=True,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Estimate(value=value, low=float(found.low), high=float(found.high))


def tpr_at_1_percent_fpr(members: Scores, others: Scores) -> Estimate:
    """Estimate the share of members found by a threshold that at most 1 % of the others exceed.

    With fewer than 100 others, none of them may exceed it. The interval (Clopper-Pearson) is that
    of the share at this threshold.
    """
    threshold = np.sort(others)[::-1][len(others) // 100]
    found = stats.binomtest(int((members > threshold).sum()), len(members))
    interval = found.proportion_ci(CONFIDENCE, method="exact")
    return Estimate(value=found.statistic, low=float(interval.low), high=float(interval.high))


def roc(members: Scores, others: Scores) -> tuple[tuple[float, float], ...]:
    """Compute the false and true positive rates at every threshold, from (0, …) to (1, 1).

    Of each false positive rate, the largest true positive rate counts. Of many points, those that
    are evenly spaced on a logarithmic scale remain: small false positive rates matter most.
    """
    thresholds = np.sort(others)[::-1]
    found = len(members) - np.searchsorted(np.sort(members), thresholds, side="right")
    rates = np.append(found, len(members)) / len(members)
    last = len(others)
    kept = np.arange(last + 1)
    if last >= _MOST_POINTS:
        kept = np.append(0, np.unique(np.geomspace(1, last, _MOST_POINTS - 1).round().astype(int)))
    return tuple((float(i / last), float(rates[i])) for i in kept)


def epsilon_bound(scores: Scores, included: Sequence[bool], delta: float) -> float:
    """Compute a lower bound on ε, with a confidence of 95 %, from the canaries of one run.

    The auditor guesses that the canaries with the largest scores were included, that those with the
    smallest were not, and abstains on the rest (Steinke, Nasr, Jagielski 2023, arXiv 2305.08846).
    The confidence is shared among the numbers of guesses that are tried (Bonferroni).

    Args:
        scores: The score of each canary.
        included: Whether the coin put it into the training data.
        delta: The δ that ε belongs to.
    """
    order, truth = np.argsort(scores), np.asarray(included)
    most = (1 - CONFIDENCE) / len(_GUESSED)
    bounds = [0.0]
    for share in _GUESSED:
        half = max(1, int(share * len(order) / 2))
        right = int(truth[order[-half:]].sum() + (~truth[order[:half]]).sum())
        bounds.append(_least_epsilon(right, 2 * half, len(order), delta, most))
    return max(bounds)


def largest_bound(canaries: int, delta: float) -> float:
    """Compute the bound if every guess is right: more than this a number of canaries cannot show.

    Args:
        canaries: How many there are.
        delta: As `epsilon_bound`.
    """
    included = np.arange(canaries) >= canaries // 2
    return epsilon_bound(np.arange(canaries, dtype=np.float64), included.tolist(), delta)


def _auc(members: Scores, others: Scores, axis: int = -1) -> Scores:
    """Compute the AUC from the ranks of the members (Mann-Whitney), along an axis."""
    ranks = stats.rankdata(np.concatenate([members, others], axis=axis), axis=axis)
    n, m = members.shape[axis], others.shape[axis]
    summed = np.take(ranks, np.arange(n), axis=axis).sum(axis=axis)
    above: Scores = (summed - n * (n + 1) / 2) / (n * m)
    return above


def _least_epsilon(right: int, guesses: int, canaries: int, delta: float, most: float) -> float:
    """Find the largest ε under which this many right guesses have at most a probability."""

    def excess(epsilon: float) -> float:
        return _probability(epsilon, right, guesses, canaries, delta) - most

    if excess(0.0) >= 0:
        return 0.0
    if excess(_LARGEST_EPSILON) < 0:
        return _LARGEST_EPSILON
    return float(optimize.brentq(excess, 0.0, _LARGEST_EPSILON))


def _probability(epsilon: float, right: int, guesses: int, canaries: int, delta: float) -> float:
    """Bound the probability of so many right guesses under (ε, δ) (Theorem 5.2 of the paper)."""
    chance = float(special.expit(epsilon))  # of randomized response
    tail = float(stats.binom.sf(right - 1, guesses, chance))
    if not delta:
        return tail
    fewer = np.arange(1, right + 1)
    near = stats.binom.cdf(right - 1, guesses, chance)
    near = near - stats.binom.cdf(right - 1 - fewer, guesses, chance)
    return tail + 2 * canaries * delta * float((near / fewer).max(initial=0.0))
