"""Scores of a model on a data set, and their confidence intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor
from transformers import PreTrainedModel

from offsite.modality.batch import Batch
from offsite.modality.uncertainty import CONFIDENCE, Gain, Interval, Share, Skill


@dataclass(frozen=True)
class Score:
    """How good a model is on a data set, by one metric."""

    metric: str
    """`perplexity` (less is better), or `accuracy` and `accuracy_top5` (more is better)."""
    value: float
    interval: Interval | None = None
    """The 95 % confidence interval; None: the examples do not tell."""


class Benchmark(Protocol):
    """A data set to score models on, encoded once."""

    @property
    def examples(self) -> Sequence[Any]:
        """The examples to run a model on."""
        ...

    @property
    def cut(self) -> int:
        """How many examples had to be cut to fit."""
        ...

    @property
    def unscored(self) -> str:
        """Why the model cannot be scored on it, with a remedy; empty: it can."""
        ...

    def outcomes(self, model: PreTrainedModel, hidden: Tensor, batch: Batch) -> Tensor:
        """Measure each example of a batch, (B,) or (B, K): what `scores` needs to know of it.

        Args:
            hidden: what the head reads, (B, T, D).
        """
        ...

    def scores(self, outcomes: Tensor) -> Sequence[Score]:
        """Compute the metrics from the outcomes of all examples, (N,) or (N, K), in their order.

        The first one counts where one has to decide.
        """
        ...

    def skill(self, outcomes: Tensor) -> Skill:
        """Compute what models are compared by, from the outcomes as `scores` gets them."""
        ...

    def compare(self, before: Tensor, after: Tensor) -> Gain:
        """Compute the gain of one model over another, from the outcomes of both."""
        ...

    def share(self, start: Tensor, plug: Tensor, best: Tensor) -> Share | None:
        """Compute how much of the best model's gain another has; None: the best has none."""
        ...

    def chance(self, corpus: Sequence[Any]) -> Skill:
        """Compute the skill of a guess that uses no model.

        For text it draws tokens by their frequency in a corpus, for choices it takes any of them,
        and for labelled images it takes the most frequent class.

        Args:
            corpus: examples of the modality, to count tokens in.
        """
        ...

    def details(self, outcomes: Tensor) -> Sequence[str]:
        """Describe the outcomes further, in lines for the log of the data's owner."""
        ...


def proportion(metric: str, right: int, of: int) -> Score:
    """Score a proportion (0 to 1), with its Wilson interval, which holds for few examples, too.

    It takes the examples for independent draws (Brown, Cai, DasGupta 2001).
    """
    from scipy.stats import binomtest  # slow to import

    found = binomtest(right, of).proportion_ci(CONFIDENCE, method="wilson")
    return Score(metric, right / of, (float(found.low), float(found.high)))
