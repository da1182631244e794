"""What the operator writes: the base of every status."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from offsite.text import printable

Digest = Annotated[str, Field(max_length=71)]
"""Of an envelope, unless noted otherwise."""

Shown = Annotated[str, AfterValidator(printable)]
"""Text that may come from a log, a peer or a store, and is shown wherever a status is."""


class Written(BaseModel):
    """Written by the operator. Python code uses the fields' Python names."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )

    def wire(self) -> dict[str, Any]:
        """Convert to JSON as the API server holds it: camelCase, times as text, no nulls."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class BaseCondition(Written):
    """What conditions of all resources have."""

    status: Literal["True", "False", "Unknown"]
    """Whether the condition holds."""
    reason: str = Field(min_length=1, max_length=1024)
    """The reason in one CamelCase word, for programs."""
    message: Shown = Field("", max_length=32768)
    """Human-readable message: the reason, and how to fix a problem."""
    last_transition_time: AwareDatetime
    """When `status` last changed."""
    observed_generation: int | None = Field(None, ge=0)
    """The generation of the resource that the condition describes."""
