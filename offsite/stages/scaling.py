"""Chooses the scale of an adapter's change: the rule `plugIn.alphaAuto`.

The model owner has no private data, so no rule can find the scale that is best on it. This one uses
what the owner has, the adapter and own data:

1. **Balance.** The attention is scaled down until its part of the change costs no more on the
   owner's data than the MLPs' part. After a short training both change their weights by as much,
   but the attention's part holds more of what only the emulator needs, and that costs.
2. **Limit.** If the job sets one, the whole change is scaled down until the model is no worse on
   the owner's data than that: WiSE-FT's trade-off between the new task and the old ones
   (arXiv 2109.01903, section 4), with the old ones measured.

docs/transfer.md has the measurements behind it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from offsite.api import AlphaAuto
from offsite.bundle import AdapterFacts, EmulatorRecord
from offsite.errors import BundleError, DataError
from offsite.events import Monitor
from offsite.layers import Loaded
from offsite.modality import Score
from offsite.modality.uncertainty import Gain
from offsite.plugin import trying
from offsite.stages.evaluation import Evaluation, Reported
from offsite.stages.judging import regression
from offsite.steps.scale import Scale
from offsite.training.evaluate import examined

_TENTHS = 10
_LEAST_ATTENTION = 4
"""Tenths below which no measured adapter became better."""


@dataclass(frozen=True)
class Returned:
    """An adapter that was opened, for the emulator of a record."""

    tensors: Mapping[str, Tensor]
    facts: AdapterFacts
    record: EmulatorRecord


def choose_scale(
    loaded: Loaded,
    adapter: Returned,
    limit: Scale,
    auto: AlphaAuto,
    own: Evaluation,
    monitor: Monitor,
) -> Scale:
    """Choose the scale of an adapter's change, and report it; the model is as before.

    Args:
        loaded: the full model, before an adapter brings it a head.
        limit: the largest scale that the job allows.
        own: the data that `auto` names.

    Raises:
        DataError: the model cannot be scored on the data.
        BundleError: at every scale the model becomes worse than the job allows.
    """
    before = own.report(loaded, "own_zero_shot", monitor)
    if before is None:
        raise DataError(
            "plugIn.alphaAuto.data cannot judge the model (the log says why); use other data, or "
            "remove alphaAuto and set alpha"
        )
    trials = _Trials(loaded, adapter, own, before, monitor)
    scale = trials.within(trials.balanced(limit), auto.max_regression)
    trials.report(scale)
    return scale


@dataclass(frozen=True)
class _Trial:
    """The model with the adapter at one scale, on its owner's data."""

    score: Score
    gain: Gain
    """Over the untouched model."""
    regression: float
    """As `judging.regression`."""


@dataclass(frozen=True)
class _Trials:
    """The scales that were tried, each once."""

    loaded: Loaded
    adapter: Returned
    own: Evaluation
    before: Reported
    monitor: Monitor
    found: dict[Scale, _Trial] = field(default_factory=dict)

    def balanced(self, limit: Scale) -> Scale:
        """Scale the attention until its part costs no more than that of the MLPs."""
        if self.adapter.facts.targets != "All":
            return limit
        most = 2 * max(0.0, self._cost(_attention(limit, 0)))

        def passes(tenths: int) -> bool:
            return self._cost(_attention(limit, tenths)) <= most

        found = _largest(passes, _LEAST_ATTENTION)
        return _attention(limit, _LEAST_ATTENTION if found is None else found)

    def within(self, scale: Scale, most: float | None) -> Scale:
        """Scale the whole change until the model is good enough on its owner's data.

        Args:
            most: the largest regression; None: any.
        """
        if most is None:
            return scale
        found = _largest(lambda tenths: self._try(_alpha(scale, tenths)).regression <= most, 1)
        if found is None:
            raise BundleError(
                f"even a tenth of the change makes the model worse by more than {most:.1%} on "
                "plugIn.alphaAuto.data, so nothing is exported; ask for another adapter, or raise "
                "alphaAuto.maxRegression"
            )
        return _alpha(scale, found)

    def report(self, scale: Scale) -> None:
        """Report what was chosen, and what it costs."""
        trial, metric = self._try(scale), self.monitor.metric
        self.monitor.log(f"alphaAuto: the adapter is plugged in with {scale}")
        metric(
            trial.score.metric,
            "own_plug_in",
            trial.score.value,
            self.own.digest,
            trial.score.interval,
            over=self.before.setting,
            gain=trial.gain.value,
            gain_interval=trial.gain.interval,
        )
        metric("alpha", "alpha", scale.alpha)
        for name, value in scale.factors.wire().items():
            metric("alpha", f"alpha_{name}", value)

    def _cost(self, scale: Scale) -> float:
        return -self._try(scale).gain.value

    def _try(self, scale: Scale) -> _Trial:
        if scale not in self.found:
            self.found[scale] = self._measured(scale)
        return self.found[scale]

    def _measured(self, scale: Scale) -> _Trial:
        bench, (tensors, facts, record) = self.own.bench, _parts(self.adapter)
        how: dict[str, Any] = {
            "alpha": scale.alpha,
            "factors": scale.factors,
            "dtype": self.loaded.dtype,
        }
        with trying(self.loaded.model, tensors, facts, record, **how):
            outcomes = examined(self.loaded, bench, self.monitor, phase=f"try {scale}")
        score: Score = bench.scores(outcomes)[0]
        worse = regression(score.metric, self.before.value, score.value)
        self.monitor.log(f"alphaAuto: with {scale} the model is worse by {worse:.1%} on own data")
        return _Trial(score, bench.compare(self.before.outcomes, outcomes), worse)


def _parts(adapter: Returned) -> tuple[Mapping[str, Tensor], AdapterFacts, EmulatorRecord]:
    return adapter.tensors, adapter.facts, adapter.record


def _attention(limit: Scale, tenths: int) -> Scale:
    """Scale the attention of a limit."""
    value = round(limit.factors.attention * tenths / _TENTHS, 6)
    factors = limit.factors.model_copy(update={"attention": value})
    return limit.model_copy(update={"factors": factors})


def _alpha(limit: Scale, tenths: int) -> Scale:
    """Scale all of a limit."""
    return limit.model_copy(update={"alpha": round(limit.alpha * tenths / _TENTHS, 6)})


def _largest(passes: Callable[[int], bool], least: int) -> int | None:
    """Find the largest number of tenths that passes; None: not even the least does.

    A bisection: it takes what passes to pass with less, too, and tries all of it first.
    """
    low, high, tried = least - 1, _TENTHS + 1, _TENTHS
    while high - low > 1:
        low, high = (tried, high) if passes(tried) else (low, tried)
        tried = (low + high) // 2
    return None if low < least else low
