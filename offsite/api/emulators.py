"""The section `emulator` of a job: a union of one type per method, discriminated by `method`.

A type has only the fields of its method. The CRD merges the types into one object, and CEL rules
refuse fields of another method (`offsite_operator.crds.union`).
"""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin

from pydantic import Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from offsite.api.references import use_of
from offsite.api.values import DataLocation, Section


class EmulatorSection(Section):
    """The fields of every method. A subclass adds `method`, with one value, and its own fields."""

    selects: ClassVar[bool] = False
    """Whether a middle block may keep only some rows and columns of a tensor."""

    heal: bool | None = None
    """Fit the kept blocks to make up for the dropped ones; absent: if the family supports it."""
    calibration: DataLocation | None = None
    """Text or images for `heal` to fit to; absent: `training.corpus`."""

    def count(self, middle: int) -> int:
        """Count the blocks between the emulator's ends.

        Args:
            middle: Number of blocks between the ends of the full model.
        """
        return max(1, middle)

    @property
    def parameters(self) -> dict[str, bool | int | float | str]:
        """The parameters of the method for the emulator's manifest, without locations."""
        fields = type(self).model_fields
        own = fields.keys() - EmulatorSection.model_fields.keys() - {"method"}
        public = {name for name in own if use_of(fields[name]) is None}
        return self.model_dump(mode="json", by_alias=True, include=public, exclude_none=True)


class LayerDrop(EmulatorSection):
    """Keeps some middle blocks, and drops the rest."""

    method: Literal["LayerDrop"] = "LayerDrop"
    """The compression method. LayerDrop keeps evenly spaced middle blocks."""
    blocks: int = Field(ge=1, le=1000)
    """Number of middle blocks to keep."""

    def count(self, middle: int) -> int:
        """See `EmulatorSection.count`."""
        return self.blocks


METHOD_TAG = "method="
"""Marks the member of a union that pydantic adds to the path of an error."""


class ByMethod:
    """Discriminates a union of sections by their field `method`.

    A section without `method` is of the type whose `method` has a default. pydantic's own
    discriminator supports neither this nor a union with one member.
    """

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Build the schema for pydantic."""
        found = sections(source)
        default = next(n for n, each in found.items() if each.model_fields["method"].default == n)

        def method(given: Any) -> str:
            value = given.get if isinstance(given, Mapping) else partial(getattr, given)
            return f"{METHOD_TAG}{value('method', default)}"

        choices = {f"{METHOD_TAG}{n}": handler.generate_schema(e) for n, e in found.items()}
        return core_schema.tagged_union_schema(choices, method)


def sections(union: Any) -> dict[str, type[EmulatorSection]]:
    """Return the sections of a union by method."""
    kinds = get_args(union) if get_origin(union) is not None else (union,)
    return {get_args(each.model_fields["method"].annotation)[0]: each for each in kinds}


Emulator = Annotated[LayerDrop, ByMethod()]
"""To add a method: `Annotated[LayerDrop | Another, ByMethod()]`."""
EMULATORS = sections(get_args(Emulator)[0])
"""The sections by method."""
