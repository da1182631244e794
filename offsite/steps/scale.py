"""The scale at which an adapter is plugged in. Work notes what the rule `alphaAuto` chose.

The step that signs the model cannot run it, so it cannot repeat the rule. It checks that the note
is within the limits of the job.
"""

from pydantic import Field, ValidationError

from offsite.api import AlphaFactors, PlugIn
from offsite.api.problems import reason
from offsite.bundle import Origin
from offsite.errors import BundleError
from offsite.steps.workspace import SCALE, Workspace
from offsite.store import write_whole
from offsite.wire import Part, canonical


class Scale(Part):
    """How much of an adapter's change is plugged in."""

    alpha: float = Field(ge=0, le=2)
    factors: AlphaFactors = AlphaFactors()

    @classmethod
    def of(cls, job: PlugIn) -> "Scale":
        """Return what the job sets: the scale, or the upper limits of the rule."""
        return cls(alpha=job.alpha, factors=job.alpha_factors)

    def __str__(self) -> str:
        return f"alpha {self.alpha:g}" + (f", factors {self.factors}" if str(self.factors) else "")

    def within(self, limits: "Scale") -> bool:
        """Whether no part of the scale is above its limit."""
        factors, most = self.factors.wire(), limits.factors.wire()
        return self.alpha <= limits.alpha and all(factors[name] <= most[name] for name in most)

    def note(self, space: Workspace) -> None:
        """Write what the rule chose, for the step that signs the model."""
        write_whole(space.folder / SCALE, canonical(self.wire()))


def scaled_origin(space: Workspace, job: PlugIn, origin: Origin) -> Origin:
    """Complete the origin of a plugged-in model with its scale.

    Raises:
        BundleError: the note of the rule is missing, damaged, or above the limits of the job.
    """
    scale, limits = Scale.of(job), Scale.of(job)
    if job.alpha_auto is not None:
        path = space.folder / SCALE
        try:
            scale = Scale.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise BundleError(
                f"{path} does not say which scale the rule chose: {reason(error)}; run the job "
                "again under another name"
            ) from error
        if not scale.within(limits):
            raise BundleError(
                f"{path} has a larger scale than the job allows; check the image that made it"
            )
    return origin.model_copy(
        update={
            "alpha": scale.alpha,
            "alpha_factors": None if scale.factors == AlphaFactors() else scale.factors,
            "alpha_rule": "Auto" if job.alpha_auto else None,
        }
    )
