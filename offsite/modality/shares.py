"""Shares of examples as scores, with their confidence intervals."""

from offsite.modality.contract import Score

_CONFIDENCE = 0.95


def share(metric: str, right: int, of: int) -> Score:
    """Score a share (0 to 1) with its Wilson interval, which holds for few examples, too.

    The interval takes the examples for independent draws (Wilson 1927, Brown et al. 2001).
    """
    from scipy.stats import binomtest  # slow to import

    found = binomtest(right, of).proportion_ci(_CONFIDENCE, method="wilson")
    return Score(metric, right / of, (float(found.low), float(found.high)))
