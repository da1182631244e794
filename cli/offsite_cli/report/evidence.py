"""What a report is made from, and what its reader may know.

A data owner has its own tuning. A model owner has its emulators and what it plugged in. A demo has
both, and so have two parties that agree to share their records.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, get_args

from pydantic import Field

from offsite.errors import InputError
from offsite.frontier import Frontier
from offsite.release.capability import Capability, How
from offsite.runs import Run, Stage
from offsite.wire import Part


class View(StrEnum):
    """Whom a report is for."""

    MODEL_OWNER = "model-owner"
    DATA_OWNER = "data-owner"
    JOINT = "joint"


_STAGES: Mapping[View, tuple[Stage, ...]] = {
    View.MODEL_OWNER: ("Distill", "PlugIn"),
    View.DATA_OWNER: ("Tune",),
    View.JOINT: ("Distill", "Tune", "PlugIn"),
}
"""The stages that a reader knows, in the order of an exchange."""


_HOW: Mapping[str, How] = {each.lower(): each for each in get_args(How)}
_RECOVERED = re.compile(f"recovered_(?P<union>union_)?(?P<how>{'|'.join(_HOW)})_(?P<data>.+)")
"""The setting of a metric that a `Capability` reported."""


class Estimate(Part):
    """A figure, with what is uncertain about it."""

    value: float | None
    """The mean over seeds, if there are several; None: it is not finite."""
    interval: tuple[float, float] | None = None
    """95 % interval that the test set leaves."""
    error: float | None = None
    """Standard error of the mean over seeds; None: there is one seed."""


class Gain(Part):
    """What a setting gains over another one, on the same examples."""

    over: str
    """The other setting."""
    value: float
    """Of a perplexity: the reduction of its logarithm. Of an accuracy: the difference. More is
    better."""
    interval: tuple[float, float] | None = None
    """Paired 95 % interval."""


class Comparison(Part):
    """The five settings on the same examples, which only the holder of model and data can score."""

    metric: str
    """`perplexity` or `accuracy`."""
    settings: dict[str, Estimate]
    gains: Mapping[str, Gain] = {}
    share: Estimate | None = None
    """Share of full fine-tuning's gain that the plug-in reaches."""
    seeds: int = Field(1, ge=1)
    data: str = "held-out private data"
    """What the examples are."""


class Healed(Part):
    """What a healed block tells about the blocks that were dropped behind it."""

    below: int
    """The block that was healed."""
    dropped: tuple[int, ...]
    explained: float
    """Share of what the dropped blocks add that it predicts."""


class Attack(Part):
    """What attacks on emulators found."""

    steps: int
    """Training steps of each attack."""
    blocks: tuple[int, ...]
    """The full model's blocks that the emulators hold together."""
    found: tuple[Capability, ...]
    healed: tuple[Healed, ...] = ()


@dataclass(frozen=True)
class Extras:
    """What was measured outside of the three jobs, by the party that has the full model."""

    comparison: Comparison | None = None
    attack: Attack | None = None
    """How much of the full model's skill the emulators give back to an attacker."""
    frontier: Frontier | None = None
    """Other settings of the emulator, rehearsed on stand-in data."""
    disclosed: Sequence[Mapping[str, Any]] = ()
    """The disclosure ledger, as `offsite bundles disclosed --output json` gives it."""
    price: float | None = None
    """Of an hour of the machine that ran the jobs."""
    currency: str = ""


@dataclass(frozen=True)
class Evidence:
    """The runs of one exchange that a reader knows, and what was measured beside them."""

    view: View
    runs: tuple[Run, ...]
    extras: Extras = Extras()

    @classmethod
    def of(cls, runs: Sequence[Run], view: View | None, extras: Extras) -> "Evidence":
        """Check what a report is to be made from.

        Args:
            view: None: that of the runs' stages.

        Raises:
            InputError: A run, or a measurement, is not for this reader; or two runs are of one
                stage.
        """
        if not runs:
            raise InputError("there is no run to report; run a job first, or name its record")
        view = view or _view_of(runs)
        _check_known(view, runs, extras)
        order = _STAGES[view]
        for stage in order:
            names = [run.id for run in runs if run.stage == stage]
            if len(names) > 1:
                raise InputError(
                    f"{' and '.join(names)} are both runs of {stage}; a report is about one "
                    "exchange, so name one of them (to compare runs: offsite runs compare)"
                )
        return cls(view, tuple(sorted(runs, key=lambda run: order.index(run.stage))), extras)

    def run(self, stage: Stage) -> Run | None:
        """Return the run of a stage; None: it is not in the report."""
        return next((run for run in self.runs if run.stage == stage), None)

    @property
    def capabilities(self) -> tuple[Capability, ...]:
        """What attacks on the emulator recover, as its job or an attack of its own measured."""
        if self.extras.attack is not None:
            return self.extras.attack.found
        run = self.run("Distill")
        return () if run is None else tuple(_capabilities(run))

    @property
    def model_owner(self) -> str:
        """The id of the party that has the model."""
        run = self.runs[0]
        return run.peer if run.stage == "Tune" else run.party

    @property
    def data_owner(self) -> str:
        """The id of the party that has the data."""
        run = self.runs[0]
        return run.party if run.stage == "Tune" else run.peer


def _capabilities(run: Run) -> Iterator[Capability]:
    """Read what the release gate of a Distill job measured."""
    for metric in run.metrics:
        found = _RECOVERED.fullmatch(metric.setting)
        if metric.name == "skill" and metric.value is not None and found is not None:
            yield Capability(
                subject="Union" if found["union"] else "Emulator",
                how=_HOW[found["how"]],
                data=found["data"],
                metric="skill",
                value=None,
                share=metric.value,
                interval=metric.interval,
            )


def _view_of(runs: Sequence[Run]) -> View:
    stages = {run.stage for run in runs}
    views = (View.DATA_OWNER, View.MODEL_OWNER)
    found = next((view for view in views if stages <= {*_STAGES[view]}), None)
    if found is None:
        raise InputError(
            "these runs are of both parties; set --view joint if each may read all of them"
        )
    return found


def _check_known(view: View, runs: Sequence[Run], extras: Extras) -> None:
    """Refuse what the reader could not know."""
    known = _STAGES[view]
    strange = [f"{run.id} ({run.stage})" for run in runs if run.stage not in known]
    if view is View.DATA_OWNER:
        strange += _measured(extras)
    if strange:
        raise InputError(
            f"a {view.value.replace('-', ' ')} cannot know {', '.join(strange)}; leave it out, or "
            "set --view joint if both parties may read the report"
        )


def _measured(extras: Extras) -> Iterator[str]:
    if extras.comparison is not None:
        yield "how the full model does (--evaluation)"
    if extras.attack is not None:
        yield "what an attack on an emulator recovers (--recovery)"
    if extras.frontier is not None:
        yield "how other emulators do (--frontier)"
    if extras.disclosed:
        yield "the disclosure ledger"
