"""Figures over several seeds: mean and standard error, apart from the error of the test set."""

from collections.abc import Callable, Sequence
from statistics import fmean, stdev
from typing import Literal, TypeVar

from pydantic import Field

from offsite.bundle import PrivacyFacts
from offsite.rehearsal.result import Gain, Interval, Measured, Model, Rehearsed, Sizes
from offsite.rehearsal.setting import Setting
from offsite.wire import Digest, Part

F = TypeVar("F", Measured, Gain)


class Spread(Part):
    """A figure over several seeds."""

    mean: float | None
    """None: one of the values is not finite."""
    error: float | None
    """Standard error of the mean over the seeds; None: there is one seed."""
    values: tuple[float | None, ...]
    """By seed."""
    interval: Interval | None = None
    """95 % confidence interval over the examples of the test set: that of one run, averaged over
    the seeds. It does not say how much seeds differ."""


class Scored(Part):
    """One model over several seeds."""

    score: Spread
    """Its metric on the test set."""
    gain: Spread | None = None
    """Its gain over the untouched full model, as in `Rehearsed.gains`."""


class Summary(Part):
    """What rehearsals that differ in their seed alone measured."""

    format: Literal[1] = 1  # noqa: V107 - checked by its type
    metric: str
    seeds: tuple[int, ...]
    model: Digest
    data: dict[str, Digest]
    """Digest of each data set, by its purpose."""
    setting: Setting
    models: dict[Model, Scored]
    share: Spread | None = None
    """Share of the gain of full fine-tuning that the plug-in reaches; None: not measured, or
    fine-tuning gains nothing."""
    sizes: Sizes
    relative_flops: float
    """FLOPs of a forward pass of the emulator, relative to the full model's."""
    privacy: PrivacyFacts | None = None
    seconds: dict[str, float]
    """Wall-clock seconds of each phase, averaged over the seeds."""


class Repeated(Part):
    """Rehearsals of one setting that differ in their seed alone."""

    runs: tuple[Rehearsed, ...] = Field(min_length=1)

    def summary(self) -> Summary:
        """Summarize the figures over the seeds."""
        first = self.runs[0]
        return Summary(
            metric=first.models["full_zero_shot"].metric,
            seeds=tuple(run.seed for run in self.runs),
            model=first.model,
            data=first.data,
            setting=first.setting,
            models={name: self._scored(name) for name in first.models},
            share=self._over(lambda run: run.share),
            sizes=first.sizes,
            relative_flops=first.relative_flops,
            privacy=first.privacy,
            seconds={
                phase: fmean(run.seconds[phase] for run in self.runs) for phase in first.seconds
            },
        )

    def _scored(self, model: Model) -> Scored:
        score = spread([run.models[model] for run in self.runs])
        return Scored(score=score, gain=self._over(lambda run: run.gains.get(model)))

    def _over(self, figure: Callable[[Rehearsed], Gain | None]) -> Spread | None:
        found = [each for run in self.runs if (each := figure(run)) is not None]
        return spread(found) if len(found) == len(self.runs) else None


def spread(found: Sequence[F]) -> Spread:
    """Summarize a figure over seeds: mean, standard error, and the interval of the test set."""
    values = tuple(each.value for each in found)
    finite = [value for value in values if value is not None]
    whole, several = len(finite) == len(values), len(values) > 1
    intervals = [each.interval for each in found if each.interval is not None]
    low, high = ([bounds[side] for bounds in intervals] for side in (0, 1))
    return Spread(
        mean=fmean(finite) if whole else None,
        error=stdev(finite) / len(values) ** 0.5 if whole and several else None,
        values=values,
        interval=(fmean(low), fmean(high)) if len(intervals) == len(values) else None,
    )
