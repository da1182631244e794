"""An organization's limits, which the authors of jobs cannot change."""

from typing import Literal

from pydantic import Field

from offsite.api.privacy import Unit
from offsite.api.release import EmulatorRelease, Release
from offsite.api.tune import Tune
from offsite.api.values import Section

RequiredApproval = Literal["None", "Adapters", "All"]
_NEED_APPROVAL = {"None": (), "Adapters": ("Tune",), "All": ("Distill", "Tune")}
"""The stages whose result needs an approval. A PlugIn sends nothing."""
_LESS = {
    "ε": "ask for a smaller epsilon, a larger noiseMultiplier or fewer steps",
    "δ": "ask for a smaller delta",
}


class PrivacyLimits(Section):
    """The least differential privacy of an organization's adapters."""

    required: bool = False
    """Whether each adapter must be tuned with `tune.privacy`. Any limit below requires it, too."""
    max_epsilon: float | None = Field(None, gt=0)
    """The largest ε of an adapter."""
    max_delta: float | None = Field(None, gt=0, lt=1)
    """The largest δ of an adapter. It is always below 1 / units."""
    unit: Unit | None = None
    """The unit that jobs must name, such as all rows of a patient; absent: they choose."""

    @property
    def is_required(self) -> bool:
        """Whether an adapter without differential privacy is refused."""
        return self != PrivacyLimits()

    def objection(self, job: Tune) -> str | None:
        """Say what a job asks for that is less than this, before its data is read."""
        asked = job.privacy
        if asked is None:
            return (
                "tune.privacy is missing, and this organization requires differential privacy of "
                "adapters (privacy.required): set it"
                if self.is_required
                else None
            )
        if self.unit not in (None, asked.unit):
            return (
                f"tune.privacy.unit is {asked.unit_name}, and this organization protects all rows "
                f"of a {self.unit.group} (privacy.unit): set tune.privacy.unit.group to it"
            )
        return self.excess(asked.epsilon, asked.delta)

    def excess(self, epsilon: float | None, delta: float | None) -> str | None:
        """Say which of ε and δ is too large; None: neither, or it is unknown yet."""
        bounds = (
            ("ε", epsilon, "maxEpsilon", self.max_epsilon),
            ("δ", delta, "maxDelta", self.max_delta),
        )
        for name, value, limit, most in bounds:
            if value is not None and most is not None and value > most:
                return (
                    f"tune.privacy: {name} is {value:.4g}, and this organization allows {most:g} "
                    f"at most (privacy.{limit}): {_LESS[name]}"
                )
        return None


class Limits(Section):
    """Limits that the author of a job cannot change.

    They are set in the chart's `bounds`, or in `policy.yaml` of a home. The training step checks
    them, and the step with keys checks them again, except `max_change` for a model at a hub, which
    that step cannot reach.
    """

    max_kept_blocks: float = Field(0.8, gt=0, le=1)
    """Largest share of a model's middle blocks that its emulators may keep, all together."""
    max_end_blocks: float = Field(0.5, gt=0, le=1)
    """Largest share of a model's blocks that may be ends, over all its emulators."""
    min_examples: int = Field(16, ge=1)
    """Minimum number of different examples that an adapter is tuned on."""
    min_steps: int = Field(8, ge=1)
    """Minimum number of training steps of an adapter."""
    min_batch_size: int = Field(4, ge=1)
    """Minimum number of examples per training step."""

    max_change: float = Field(1.0, gt=0)
    """Largest change of a weight that a returned adapter may make, relative to the weight."""

    watermark: bool = True
    """Whether emulators get a mark that says to whom they were sent."""
    allow_suspicious_emulators: bool = False
    """Whether to tune in emulators that inspection finds to be built to memorize private data."""

    privacy: PrivacyLimits = PrivacyLimits()
    """The least differential privacy of an adapter."""
    require_approval: RequiredApproval = "None"
    """Which results another person has to approve before they are sent to a peer."""
    min_improvement: float = Field(0.001, ge=-1, lt=1)
    """Share by which an adapter has to lower the validation loss at least; if negative, it may
    raise the loss by this share."""
    max_silent_rows: float = Field(0.5, ge=0, le=1)
    """Largest share of the rows of an adapter's matrix that may be zero, or nearly so."""
    max_row_ratio: float = Field(50.0, ge=1)
    """How large a row of an adapter's matrix may be, relative to the median row."""
    release: Release | None = None
    """Audits of every adapter, and their maximums. A job may only be stricter."""
    emulator_release: EmulatorRelease | None = None
    """Audit of every emulator, and its maximum. A job may only be stricter."""

    def requires_approval(self, stage: str) -> bool:
        """Return whether the result of a stage needs an approval before it is sent."""
        return stage in _NEED_APPROVAL[self.require_approval]

    def objection(self, job: Tune) -> str | None:
        """Explain which minimum a job is below, before its data is read; None: it is within all."""
        asked = (
            ("batchSize", job.training.batch_size, "minBatchSize", self.min_batch_size),
            ("steps", job.training.steps, "minSteps", self.min_steps),
        )
        for field, value, floor, least in asked:
            if value is not None and value < least:
                return (
                    f"tune.training.{field} is {value}, but this organization requires at least "
                    f"{least} ({floor}): increase it"
                )
        return self.privacy.objection(job)
