"""A second emulator method, which exists in tests alone, and a job section that has both."""

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from offsite.api import RULES, EmulatorSection, LayerDrop, Section, cel
from offsite.api.emulators import ByMethod


class Narrow(EmulatorSection):
    """Narrow keeps some neurons of every block."""

    model_config = ConfigDict(
        json_schema_extra={RULES: [cel("self.share < 1.0 || has(self.most)", "share 1 needs most")]}
    )
    selects: ClassVar[bool] = True

    method: Literal["Narrow"]
    """Narrow keeps some neurons of every block."""
    share: float = Field(gt=0, le=1)
    """Share of the neurons to keep."""
    most: int = Field(4096, ge=1)
    """Number of neurons to keep at most."""


class Both(Section):
    """A section with an emulator of either method."""

    emulator: Annotated[LayerDrop | Narrow, ByMethod()]
    """How the middle of the model is compressed."""
