"""The gate between a trained adapter and its publication: figures, metrics, and a verdict."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from offsite.api import Limits, Release
from offsite.events import Monitor, Rates
from offsite.release.figures import CanaryAudit, Estimate, Figures, Membership
from offsite.release.statistics import (
    Scores,
    auc,
    epsilon_bound,
    largest_bound,
    roc,
    tpr_at_1_percent_fpr,
)
from offsite.release.traces import traces_of
from offsite.release.verdict import check_figures


@dataclass(frozen=True)
class Losses:
    """Losses of a set of examples under the untouched and the tuned emulator."""

    untouched: NDArray[np.float64]
    """Loss of each example, summed over its targets, in nats, (N,)."""
    tuned: NDArray[np.float64]
    weights: NDArray[np.float64]
    """Number of targets of each example."""

    @property
    def scores(self) -> Scores:
        """How much training lowered the loss of each example, in nats per target.

        The untouched emulator is the reference: an example that is easy by itself does not stand
        out (LoRA-Leak, arXiv 2507.18302).
        """
        with np.errstate(invalid="ignore"):  # infinite before and after
            fallen = (self.untouched - self.tuned) / np.maximum(1, self.weights)
        return np.nan_to_num(fallen)

    def means(self) -> tuple[float, float]:
        """Compute the mean losses, untouched and tuned, in nats per target."""
        total = max(1.0, float(self.weights.sum()))
        return float(self.untouched.sum()) / total, float(self.tuned.sum()) / total


@dataclass(frozen=True)
class Measured:
    """Everything that was measured of an adapter."""

    tensors: Iterable[tuple[str, NDArray[np.floating]]]
    """Its tensors by name, as they are sent."""
    validation: Losses
    train: Losses | None = None
    """None: membership inference is not required."""
    canaries: Losses | None = None
    included: Sequence[bool] = ()
    """Whether each canary was in the training data."""
    delta: float = 0.0
    """The δ of a private training, else 0."""


def check_release(
    measured: Measured, limits: Limits, release: Release | None, monitor: Monitor
) -> Figures:
    """Compute the figures of an adapter, report them as metrics, and refuse what is not allowed.

    Args:
        release: The audits that are required, as `required` combines them; None: none are.

    Raises:
        ReleaseRefused: The adapter must not be published.
    """
    figures = _figures(measured)
    _report(figures, monitor)
    for rates in _rates(measured):
        monitor.emit(rates)
    check_figures(figures, limits, release)
    return figures


def _figures(measured: Measured) -> Figures:
    untouched, tuned = measured.validation.means()
    membership, canaries = None, None
    if measured.train is not None:
        membership = _membership(measured.train.scores, measured.validation.scores)
    if measured.canaries is not None:
        canaries = _canaries(measured.canaries.scores, measured.included, measured.delta)
    return Figures(
        untouched_loss=untouched,
        tuned_loss=tuned,
        traces=traces_of(measured.tensors),
        membership=membership,
        canaries=canaries,
    )


def _membership(members: Scores, others: Scores) -> Membership:
    return Membership(
        auc=auc(members, others),
        tpr=tpr_at_1_percent_fpr(members, others),
        members=len(members),
        others=len(others),
    )


def _canaries(scores: Scores, included: Sequence[bool], delta: float) -> CanaryAudit:
    coins = np.asarray(included)
    return CanaryAudit(
        **dict(_membership(scores[coins], scores[~coins])),
        epsilon=epsilon_bound(scores, included, delta),
        largest_epsilon=largest_bound(len(scores), delta),
        delta=delta,
    )


def _rates(measured: Measured) -> Iterator[Rates]:
    if measured.train is not None:
        points = roc(measured.train.scores, measured.validation.scores)
        yield Rates(setting="membership", points=points)
    if measured.canaries is not None:
        scores, coins = measured.canaries.scores, np.asarray(measured.included)
        yield Rates(setting="canary", points=roc(scores[coins], scores[~coins]))


def _report(figures: Figures, monitor: Monitor) -> None:
    """Report all figures as metrics, which the data owner alone sees."""
    monitor.metric("loss", "validation_before", figures.untouched_loss)
    monitor.metric("loss", "validation_after", figures.tuned_loss)
    monitor.metric("share", "silent_rows", figures.traces.silent_rows)
    monitor.metric("ratio", "row_ratio", figures.traces.row_ratio)
    for setting, found in (("membership", figures.membership), ("canary", figures.canaries)):
        if found is not None:
            _report_estimate("auc", f"{setting}_auc", found.auc, monitor)
            _report_estimate("tpr_at_1_percent_fpr", f"{setting}_tpr", found.tpr, monitor)
    if figures.canaries is not None:
        monitor.metric("epsilon", "canary_epsilon", figures.canaries.epsilon)
        monitor.metric("epsilon", "canary_largest_epsilon", figures.canaries.largest_epsilon)


def _report_estimate(name: str, setting: str, found: Estimate, monitor: Monitor) -> None:
    monitor.metric(name, setting, found.value)
    monitor.metric(name, f"{setting}_low", found.low)
    monitor.metric(name, f"{setting}_high", found.high)
