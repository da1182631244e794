"""What a rehearsal measured, as it is kept: strict JSON. Reading it imports no torch."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from offsite.bundle import PrivacyFacts
from offsite.rehearsal.setting import Setting
from offsite.wire import Digest, Part

if TYPE_CHECKING:
    from torch import Tensor

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
    def tensor(self) -> "Tensor":
        """The outcomes as a tensor, (N,) or (N, K) in float64."""
        import torch  # who reads figures alone need not import it

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
