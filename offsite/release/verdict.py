"""Compares an adapter's figures with what the organization and the job allow. No torch."""

from collections.abc import Iterator

from offsite.api import Limits, Release
from offsite.errors import ReleaseRefused
from offsite.release.figures import Figures


def check_figures(figures: Figures, limits: Limits, release: Release | None) -> None:
    """Refuse to publish an adapter whose figures are not allowed.

    Args:
        release: What is required of the audits, as `required` combines it; None: none are.

    Raises:
        ReleaseRefused: A figure is above its maximum, or was not measured. Names all of them.
    """
    found = [*_always(figures, limits), *(_audits(figures, release) if release else ())]
    if found:
        raise ReleaseRefused("the adapter is not published:", *found)


def required(limits: Limits, asked: Release | None) -> Release | None:
    """Combine the audits that a job asks for with those of the organization; None: no audit."""
    if limits.release is None or asked is None:
        return limits.release or asked
    return limits.release.joined(asked)


def _always(figures: Figures, limits: Limits) -> Iterator[str]:
    traces = figures.traces
    if not figures.improvement >= limits.min_improvement:  # also if it is not a number
        yield (
            f"validation loss {figures.untouched_loss:.6g} before, {figures.tuned_loss:.6g} after: "
            f"it must fall by {limits.min_improvement:.2%} (minImprovement); train longer, or look "
            "at the data and the emulator"
        )
    if traces.silent_rows > limits.max_silent_rows:
        yield (
            f"{traces.silent_rows:.1%} of the rows of {traces.silent_rows_in} are zero or nearly "
            f"so; at most {limits.max_silent_rows:.1%} may be (maxSilentRows): the emulator may "
            "have been built to memorize; ask its owner"
        )
    if traces.row_ratio > limits.max_row_ratio:
        yield (
            f"a row of {traces.row_ratio_in} is {traces.row_ratio:.3g} times as large as the "
            f"median row; at most {limits.max_row_ratio:.3g} times is allowed (maxRowRatio): the "
            "emulator may have been built to memorize; ask its owner"
        )


def _audits(figures: Figures, release: Release) -> Iterator[str]:
    private, canaries = figures.membership, figures.canaries
    if private is None or (release.canary_count and canaries is None):
        yield "it was not audited; run the job again under another name"
        return
    if canaries is not None and canaries.members + canaries.others < release.canary_count:
        yield (
            f"it was audited with {canaries.members + canaries.others} canaries, and "
            f"{release.canary_count} are required; run the job again under another name"
        )
    limit = release.max_auc
    if limit is not None and private.auc.value > limit:
        yield f"membership inference has an AUC of {private.auc}; at most {limit:g} (maxAuc)"
    limit = release.max_tpr_at_1_percent_fpr
    if limit is not None and private.tpr.value > limit:
        yield (
            f"membership inference finds a share of {private.tpr} of the training data at 1 % "
            f"false positives; at most {limit:g} (maxTprAt1PercentFpr)"
        )
    limit = release.max_empirical_epsilon
    if limit is not None and canaries is not None and canaries.epsilon > limit:
        yield (
            f"the canaries prove that ε is at least {canaries.epsilon:.3g}, with a confidence of "
            f"95 %; at most {limit:g} (maxEmpiricalEpsilon)"
        )
