"""The figures of each setting of a sweep, as JSON: for the table, the plot and the report."""

from typing import Literal, Self

from pydantic import Field, model_validator

from offsite.frontier.sweep import Candidate
from offsite.release.capability import Capability
from offsite.wire import Part


class Figure(Part):
    """A measured figure, with its two kinds of uncertainty."""

    value: float
    """The mean over the seeds."""
    interval: tuple[float, float] | None = None
    """The 95 % interval that the test set leaves, with the seeds as they are."""
    error: float | None = None
    """The standard error of the mean over seeds; None: there is one seed."""


class Skill(Part):
    """Skill as a share of the untouched full model's, above chance: 0 is chance, 1 is its own."""

    untouched: Figure
    """Of the emulator as it is sent."""
    recovered: Figure
    """Of the best model that the attacks made from it with public data. The untouched emulator is
    one of them. As `untouched`, it is the larger share of the test set and held-out public data."""
    tuned: Figure
    """Of the emulator with the adapter, on the test set. It can exceed 1, since the full model was
    not tuned."""


class Cost(Part):
    """What an emulator costs the data owner to receive and to run."""

    size_bytes: int = Field(ge=0)
    """Bytes of the weights that are sent."""
    size: float = Field(ge=0)
    """The same as a share of the full model's."""
    flops: float = Field(ge=0)
    """FLOPs for a token as a share of the full model's."""
    distill_seconds: float = Field(ge=0)  # noqa: V107 - for people
    """What the model owner's part took on this machine: to make the emulator."""
    tune_seconds: float = Field(ge=0)  # noqa: V107 - for people
    """What the data owner's part took on this machine, on average."""


class Point(Part):
    """One setting of the sweep."""

    number: int = Field(ge=1)
    """Its place in the sweep."""
    setting: Candidate
    gain: Figure
    """Share of full fine-tuning's gain that the plugged-in model reaches."""
    skill: Skill
    cost: Cost
    refused: str | None = None
    """Why this organization does not allow the emulator to be sent; None: it does."""
    attacks: tuple[Capability, ...] = ()
    """What each attack recovers, by test set: `test`, or held-out examples of the `corpus`."""

    @property
    def objectives(self) -> tuple[float, ...]:
        """What the owner would like to be small: lost gain, leaked skill, and cost."""
        skill, cost = self.skill, self.cost
        leaked = (skill.recovered.value, skill.tuned.value)
        return (-self.gain.value, *leaked, cost.size, cost.flops)


class Wanted(Part):
    """The limits of an owner, as shares of the full model's; None: no limit."""

    min_gain: float | None = None
    max_recovered: float | None = None
    max_tuned: float | None = None
    max_size: float | None = None
    max_flops: float | None = None


class Frontier(Part):
    """All points of a sweep."""

    format: Literal[1] = 1  # noqa: V107 - checked by its type
    metric: str
    """What skill and gain were measured by, such as `perplexity`."""
    seeds: int = Field(ge=1)
    points: tuple[Point, ...] = Field(min_length=1)
    dominated: dict[int, int]
    """Numbers of the dominated points, each with that of a point that dominates it."""
    wanted: Wanted = Wanted()
    """The limits that the suggestion keeps."""
    suggested: int | None = None
    """Number of the suggested point; None: no limit was set, or no point meets it."""
    reason: str | None = None
    """Why this point, or why none."""

    @model_validator(mode="after")
    def _numbers_are_known(self) -> Self:
        numbers = [point.number for point in self.points]
        named = {*self.dominated, *self.dominated.values(), self.suggested} - {None}
        if len(set(numbers)) < len(numbers):
            raise ValueError("two points have one number")
        if not named <= set(numbers):
            raise ValueError("there is no point of a number that is dominated or suggested")
        return self

    def point(self, number: int) -> Point:
        """Return the point of a number."""
        return next(point for point in self.points if point.number == number)
