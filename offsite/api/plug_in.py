"""The section `plugIn` of a job."""

from pydantic import ConfigDict, Field, model_validator

from offsite.api.evaluation import LmEval
from offsite.api.values import RULES, Bundle, DataLocation, Location, ModelLocation, Section, cel
from offsite.families import Group

_ACCEPT = "accept needs evaluate: the text to score the model on; set it, or remove accept"


class AlphaFactors(Section):
    """Factors of `alpha`, by the part of the model that is changed. A weight has two of them.

    They only reduce: `alpha` is the scale of the parts whose factors are 1.
    """

    attention: float = Field(1.0, ge=0, le=1)
    """Factor of the linear layers of the attention."""
    mlp: float = Field(1.0, ge=0, le=1)
    """Factor of the linear layers of the MLPs."""
    ends: float = Field(1.0, ge=0, le=1)
    """Factor of the first and last blocks, which the emulator has unchanged."""
    middle: float = Field(1.0, ge=0, le=1)
    """Factor of the blocks between them."""

    def __str__(self) -> str:
        reduced = ((name, value) for name, value in self.wire().items() if value != 1)
        return ", ".join(f"{name} {value:g}" for name, value in reduced)

    def of(self, group: Group | None, *, end: bool) -> float:
        """Return the factor of a weight.

        Args:
            group: the half of its block that it is in; None: neither, such as a norm.
            end: whether the block is one of the ends.
        """
        half = {"Attention": self.attention, "MLP": self.mlp, None: 1.0}[group]
        return half * (self.ends if end else self.middle)


class AlphaAuto(Section):
    """The rule that chooses the scale by what the model owner knows: the change, and own data."""

    data: DataLocation
    """Text or images of the model owner's own, on which the parts of the change are compared."""
    max_regression: float | None = Field(None, ge=0, le=1000)
    """How much worse the change may make the model on `data`; absent: no limit. For a perplexity:
    its relative increase (0.5 is 50 %). For an accuracy: the difference."""


class Export(Section):
    """Where to write the plugged-in model, as a Hugging Face model."""

    to: Location
    """A folder that does not exist yet. Existing files are never replaced."""


class Accept(Section):
    """Requirements on the score on the `evaluate` text. A model that misses them is not exported.

    The Work step measures the score; the Publish step cannot run a model.
    """

    max_regression: float = Field(ge=0, le=1000)
    """How much worse the adapter may make the model. For a perplexity: its relative increase (0.05
    is 5 %). For an accuracy: the difference. 0: not worse at all."""


class PlugIn(Section):
    """Last stage, by the model owner: plug the returned adapter into the full model."""

    model_config = ConfigDict(
        json_schema_extra={RULES: [cel("!has(self.accept) || has(self.evaluate)", _ACCEPT)]}
    )

    model: ModelLocation
    """The full model that the emulator was made from."""
    adapter: Bundle
    """The peer's adapter: its bundle's name, or name@sha256:… (an envelope) for one version."""
    alpha: float = Field(1.0, ge=0, le=2)
    """Scale of the adapter's change; 0: no change, 1: all of it (WiSE-FT, arXiv 2109.01903)."""
    alpha_factors: AlphaFactors = AlphaFactors()
    """Factors of `alpha` for attention, MLPs, ends and middle."""
    alpha_auto: AlphaAuto | None = None
    """A rule chooses the scale, and `alpha` and `alphaFactors` are its upper limits; absent: they
    are used as they are."""
    evaluate: DataLocation | None = None
    """Data to evaluate the full model on, before and after plugging in."""
    lm_eval: LmEval | None = None
    """Tasks of lm-eval. The full model is scored on them, before and after plugging in."""
    accept: Accept | None = None
    """Quality that the model must have to be exported; absent: it is always exported."""
    export: Export | None = None
    """Where to write the plugged-in model; absent: `models/<job>` in the private store."""

    @model_validator(mode="after")
    def _accepts_on_text(self) -> "PlugIn":
        if self.accept is not None and self.evaluate is None:
            raise ValueError(_ACCEPT)
        return self
