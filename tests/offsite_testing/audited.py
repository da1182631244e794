"""An adapter's figures for the tests of the gate: made up, and judged as a job does."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from offsite.api import Limits, Release
from offsite.events import Monitor
from offsite.release.canaries import coins, generator
from offsite.release.figures import Figures
from offsite.release.gate import Losses, Measured, check_release
from offsite_testing.events import Wire, recording

STRICT = Release(canaries=200, max_auc=0.6, max_tpr_at_1_percent_fpr=0.1, max_empirical_epsilon=0.5)


def near(mean: float, count: int, seed: int = 0) -> NDArray[np.float64]:
    """Draw numbers with a deviation of 0.1."""
    return np.random.default_rng(seed).normal(mean, 0.1, count)


def honest(rows: int = 64, columns: int = 8) -> NDArray[np.float32]:
    """Make a matrix of which every row changed."""
    return np.random.default_rng(1).normal(size=(rows, columns)).astype(np.float32)


def trapped(live: int) -> NDArray[np.float32]:
    """Make a matrix in which the rows of a few neurons hold text, and all others nothing."""
    made = honest()
    made[live:] = 0
    return made


def losses(untouched: float, tuned: NDArray[np.float64]) -> Losses:
    """Make the losses of examples of ten tokens, in nats a token."""
    count = len(tuned)
    return Losses(np.full(count, 10 * untouched), 10 * tuned, np.full(count, 10.0))


def measured(**over: Any) -> Measured:
    """Make an adapter that learned, and from which nothing can be told."""
    usual: dict[str, Any] = {
        "tensors": [("blocks.0.fc1.weight.lora_B", honest())],
        "validation": losses(4.0, near(3.0, 300, seed=3)),
        "train": losses(4.0, near(3.0, 300, seed=2)),
        "canaries": losses(9.0, near(9.0, 200, seed=4)),
        "included": coins(200, generator("secret")),
    }
    return Measured(**usual | over)


def judged(release: Release | None = STRICT, **over: Any) -> tuple[Figures, list[Wire]]:
    """Judge such an adapter; give its figures and the events."""
    events: list[Wire] = []
    figures = check_release(measured(**over), Limits(), release, Monitor(recording(events)))
    return figures, events
