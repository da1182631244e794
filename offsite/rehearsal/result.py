"""What a rehearsal measured, as it is kept: strict JSON that needs no model to be read."""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from offsite.bundle import PrivacyFacts
from offsite.rehearsal.setting import Setting
from offsite.wire import Digest, Part

Model = Literal[
    "full_zero_shot", "emulator_zero_shot", "emulator_tuned", "plug_in", "full_fine_tuned"
]
"""The five settings that are scored. With a new head, `full_zero_shot` has a linear probe on the
features of the untouched full model."""
Interval = tuple[float, float]
Outcomes = tuple[float | tuple[float, ...], ...]


class Measured(Part):
    """One model on the test set."""

    metric: str
    """`perplexity` or `accuracy`."""
    value: float | None
    """None: it is not finite."""
    interval: Interval | None = None
    """95 % confidence interval over the examples of the test set."""
    outcomes: Outcomes = Field(repr=False)
    """`Benchmark.outcomes` of each example: (N,) or (N, K)."""

    @property
    def tensor(self) -> Tensor:
        """The outcomes as a tensor, (N,) or (N, K) in float64."""
        return torch.tensor(self.outcomes, dtype=torch.float64)


class Gain(Part):
    """A difference of two models on the same examples, or a share of one."""

    value: float
    interval: Interval | None = None
    """95 % confidence interval, paired over the examples of the test set."""


class Sizes(Part):
    """Sizes in bytes."""

    model: int
    """Of the full model's weights."""
    emulator: int
    """Of the files of the emulator's bundle."""
    adapter: int
    """Of the adapter's tensors as they are sent."""


class Rehearsed(Part):
    """One rehearsal: the three stages with one seed, and the five settings on the test set."""

    format: Literal[1] = 1  # noqa: V107 - checked by its type
    digest: Digest
    """Of all inputs: model, data, setting and seed."""
    model: Digest
    data: dict[str, Digest]
    """Digest of each data set, by its purpose."""
    setting: Setting
    seed: Annotated[int, Field(ge=0)]
    """Of the tuning, and of the fine-tuning of the full model."""
    models: dict[Model, Measured]
    """By setting; `full_fine_tuned` only if it was asked for."""
    gains: dict[Model, Gain]
    """What each setting gains over the untouched full model. Of perplexity: the reduction of its
    logarithm, in nats per token. Of accuracy: the difference. More is better."""
    share: Gain | None = None
    """Share of the gain of full fine-tuning that the plug-in reaches; None: there is none."""
    sizes: Sizes
    relative_flops: Annotated[float, Field(gt=0)]  # noqa: V107 - for reports
    """FLOPs of a forward pass of the emulator, relative to the full model's."""
    privacy: PrivacyFacts | None = None
    """Differential privacy of the adapter."""
    seconds: dict[str, float]
    """Wall-clock seconds of each phase: `distill`, `tune`, `plug_in` and `fine_tune`."""


class Spread(Part):
    """A figure over several seeds."""

    mean: float | None
    """None: one of the values is not finite."""
    error: float | None
    """Standard error of the mean over the seeds; None: there is one seed."""
    values: tuple[float | None, ...]
    """By seed."""
    interval: Interval | None
    """95 % confidence interval over the examples of the test set: that of one run, averaged over
    the seeds. It says nothing of how much seeds differ."""


class Repeated(Part):
    """Rehearsals of one setting that differ in their seed alone."""

    runs: tuple[Rehearsed, ...] = Field(min_length=1)

    @property
    def setting(self) -> Setting:
        """The setting of all of them."""
        return self.runs[0].setting

    @property
    def metric(self) -> str:
        """The metric of the test set."""
        return self.runs[0].models["full_zero_shot"].metric

    def scored(self, model: Model) -> Spread | None:
        """Summarize the metric of a model over the seeds; None: it was not measured."""
        found = [run.models.get(model) for run in self.runs]
        return None if None in found else spread([each for each in found if each is not None])

    def share(self) -> Spread | None:
        """Summarize the share of full fine-tuning's gain; None: it was not measured."""
        found = [run.share for run in self.runs]
        return None if None in found else spread([each for each in found if each is not None])


def spread(found: Sequence[Measured | Gain]) -> Spread:
    """Summarize a figure over seeds: mean, standard error, and the interval of the test set."""
    values = [each.value for each in found]
    finite = torch.tensor([v for v in values if v is not None], dtype=torch.float64)
    whole = len(finite) == len(values)
    intervals = [each.interval for each in found if each.interval is not None]
    bounds = torch.tensor(intervals, dtype=torch.float64)
    several = whole and len(values) > 1
    return Spread(
        mean=float(finite.mean()) if whole else None,
        error=float(finite.std() / len(values) ** 0.5) if several else None,
        values=tuple(values),
        interval=tuple(bounds.mean(0).tolist()) if len(bounds) == len(values) else None,
    )
