"""The section `plugIn` of a job."""

from pydantic import ConfigDict, Field, model_validator

from offsite.api.values import RULES, Bundle, DataLocation, Location, ModelLocation, Section, cel

_ACCEPT = "accept needs evaluate: the text to score the model on; set it, or remove accept"


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
    evaluate: DataLocation | None = None
    """Data to evaluate the full model on, before and after plugging in."""
    accept: Accept | None = None
    """Quality that the model must have to be exported; absent: it is always exported."""
    export: Export | None = None
    """Where to write the plugged-in model; absent: `models/<job>` in the private store."""

    @model_validator(mode="after")
    def _accepts_on_text(self) -> "PlugIn":
        if self.accept is not None and self.evaluate is None:
            raise ValueError(_ACCEPT)
        return self
