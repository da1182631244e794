"""Chooses the scale of an adapter's change: the rule `plugIn.alphaAuto`.

The model owner has no private data, so no rule can find the scale that is best on it. This one uses
what the owner has, in two steps:

1. **Norms.** The attention is scaled down until its weights change by no more, relative to their
   norms, than those of the MLPs: by the ratio of the two median relative changes.
2. **Regression.** Of the tenths of that scale, the largest is taken at which the model becomes no
   worse on the owner's own data than the job allows. It is WiSE-FT's trade-off between the new task
   and the old ones (arXiv 2109.01903, section 4), with the old ones measured.

docs/transfer.md has the measurements behind it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

from torch import Tensor

from offsite.api import AlphaAuto
from offsite.bundle import AdapterFacts, EmulatorRecord
from offsite.bundle.changes import Place
from offsite.errors import BundleError, DataError
from offsite.events import Monitor
from offsite.families import Family, Group
from offsite.layers import Loaded, family
from offsite.modality import Score
from offsite.plugin import trying
from offsite.stages.evaluation import Evaluation, Reported
from offsite.stages.judging import regression
from offsite.steps.scale import Scale
from offsite.training.evaluate import examined

_TENTHS = 10


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
    with _plugged(loaded, adapter, Scale(alpha=1.0)) as changes:
        attention = attention_factor(changes, family(loaded.model))
    factors = limit.factors
    if attention < factors.attention:
        factors = factors.model_copy(update={"attention": attention})
    scale = Scale(alpha=limit.alpha, factors=factors)
    scale = _Search(loaded, adapter, scale, auto, own, before, monitor).largest()
    monitor.log(f"alphaAuto: the adapter is plugged in with {scale}")
    monitor.metric("alpha", "alpha", scale.alpha)
    for name, value in scale.factors.wire().items():
        monitor.metric("alpha", f"alpha_{name}", value)
    return scale


def attention_factor(changes: Mapping[Place, float], row: Family) -> float:
    """Return the factor at which the attention changes by no more than the MLPs, from 0 to 1.

    Args:
        changes: relative changes, as `plug_in` gives them.
        row: the family of the model.
    """
    attention, mlp = _median(changes, row, "Attention"), _median(changes, row, "MLP")
    return min(1.0, round(mlp / attention, 2)) if attention and mlp else 1.0


def _median(changes: Mapping[Place, float], row: Family, group: Group) -> float:
    weights = {f"{name}.weight" for name in row.targeted(group)}
    found = [change for place, change in changes.items() if place.name in weights]
    return median(found) if found else 0.0


@contextmanager
def _plugged(loaded: Loaded, adapter: Returned, scale: Scale) -> Iterator[Mapping[Place, float]]:
    with trying(
        loaded.model,
        adapter.tensors,
        adapter.facts,
        adapter.record,
        alpha=scale.alpha,
        factors=scale.factors,
        dtype=loaded.dtype,
    ) as changes:
        yield changes


@dataclass(frozen=True)
class _Search:
    """The search for the largest scale that the owner's data allows."""

    loaded: Loaded
    adapter: Returned
    limit: Scale
    auto: AlphaAuto
    own: Evaluation
    before: Reported
    monitor: Monitor

    def largest(self) -> Scale:
        """Search by bisection, which takes the regression to grow with the scale."""
        allowed, refused = 0, _TENTHS + 1
        tried = _TENTHS  # all of it, which usually passes
        while refused - allowed > 1:
            allowed, refused = (tried, refused) if self._passes(tried) else (allowed, tried)
            tried = (allowed + refused) // 2
        if not allowed:
            raise BundleError(
                f"even a tenth of the change makes the model worse by more than "
                f"{self.auto.max_regression:.1%} on plugIn.alphaAuto.data, so nothing is exported; "
                "ask for another adapter, or raise alphaAuto.maxRegression"
            )
        return self._scale(allowed)

    def _scale(self, tenths: int) -> Scale:
        alpha = round(self.limit.alpha * tenths / _TENTHS, 6)
        return self.limit.model_copy(update={"alpha": alpha})

    def _passes(self, tenths: int) -> bool:
        scale, bench = self._scale(tenths), self.own.bench
        with _plugged(self.loaded, self.adapter, scale):
            outcomes = examined(self.loaded, bench, self.monitor, phase=f"alpha {scale.alpha:g}")
        score: Score = bench.scores(outcomes)[0]
        gain = bench.compare(self.before.outcomes, outcomes)
        worse = regression(score.metric, self.before.value, score.value)
        self.monitor.log(
            f"alphaAuto: with {scale} the model is worse by {worse:.1%} on plugIn.alphaAuto.data; "
            f"allowed is {self.auto.max_regression:.1%}"
        )
        self.monitor.metric(
            score.metric,
            f"own_alpha_{scale.alpha:g}",
            score.value,
            self.own.digest,
            score.interval,
            over=self.before.setting,
            gain=gain.value,
            gain_interval=gain.interval,
        )
        return worse <= self.auto.max_regression
