"""The section `emulator` of a job: one type a method, told apart by the field `method`.

Each method's type has the fields of that method only. The CRD merges the types into one object,
and its CEL rules refuse a field of another method (`offsite_operator.crds.union`).
"""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin

from pydantic import Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from offsite.api.references import use_of
from offsite.api.values import Section, TextLocation


class EmulatorSection(Section):
    """What every method has. A subclass adds `method`, of one value, and fields of its own."""

    selects: ClassVar[bool] = False
    """Whether a tensor of the emulator's middle may be some rows and columns of the full one."""

    heal: bool | None = None
    """Fold a closed-form correction into the kept blocks; absent: if the model family allows it."""
    calibration: TextLocation | None = None
    """Text that healing is fitted to; absent: the training corpus."""

    def count(self, middle: int) -> int:
        """Count the blocks between the emulator's ends.

        Args:
            middle: how many the full model has there.
        """
        return max(1, middle)

    @property
    def parameters(self) -> dict[str, bool | int | float | str]:
        """The method's own parameters, as the emulator's manifest tells them: no locations."""
        fields = type(self).model_fields
        own = fields.keys() - EmulatorSection.model_fields.keys() - {"method"}
        public = {name for name in own if use_of(fields[name]) is None}
        return self.model_dump(mode="json", by_alias=True, include=public, exclude_none=True)


class LayerDrop(EmulatorSection):
    """LayerDrop keeps evenly spaced middle blocks."""

    method: Literal["LayerDrop"] = "LayerDrop"
    """The compression method. LayerDrop keeps evenly spaced middle blocks."""
    blocks: int = Field(ge=1, le=1000)
    """Number of middle blocks to keep."""

    def count(self, middle: int) -> int:
        """See `EmulatorSection.count`."""
        return self.blocks


METHOD_TAG = "method="
"""pydantic puts the member of a union into the path of an error; this marks it there."""


class ByMethod:
    """Marks a union of sections whose field `method` says which of them one is.

    A section without it is of the method that has a default. Unlike pydantic's own discriminator
    this takes such a section, and a union of one.
    """

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Make the schema by which pydantic reads it."""
        found = sections(source)
        default = next(n for n, each in found.items() if each.model_fields["method"].default == n)

        def method(given: Any) -> str:
            value = given.get if isinstance(given, Mapping) else partial(getattr, given)
            return f"{METHOD_TAG}{value('method', default)}"

        choices = {f"{METHOD_TAG}{n}": handler.generate_schema(e) for n, e in found.items()}
        return core_schema.tagged_union_schema(choices, method)


def sections(union: Any) -> dict[str, type[EmulatorSection]]:
    """List the sections of a union by their methods."""
    kinds = get_args(union) if get_origin(union) is not None else (union,)
    return {get_args(each.model_fields["method"].annotation)[0]: each for each in kinds}


Emulator = Annotated[LayerDrop, ByMethod()]
"""To add a method: `Annotated[LayerDrop | Another, ByMethod()]`."""
EMULATORS = sections(get_args(Emulator)[0])
"""The section of each method, by its name."""
