"""Which rows and columns of a full tensor a smaller one is made of. No torch."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, Field

from offsite.families import Shape
from offsite.wire import Part


def _distinct(places: tuple[int, ...]) -> tuple[int, ...]:
    # what is added to one place twice would count once
    if len(set(places)) < len(places):
        raise ValueError("names a place twice")
    return places


Places = Annotated[
    tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1), AfterValidator(_distinct)
]


class Selection(Part):
    """Rows and columns of a tensor. Of a vector, rows are its entries."""

    rows: Places | None = None
    """Places along the first axis, in the smaller tensor's order; None: all."""
    columns: Places | None = None
    """Places along the second axis; None: all."""

    @property
    def is_all(self) -> bool:
        """Whether it is the whole tensor."""
        return self.rows is None and self.columns is None

    def shape(self, full: Shape) -> Shape | None:
        """Compute the shape of the part of a tensor; None: the tensor lacks one of the places."""
        sizes = [_count(places, size) for places, size in zip(self._axes, full, strict=False)]
        missing = None in sizes or any(self._axes[len(full) :])
        return None if missing else (*filter(None, sizes), *full[2:])

    @property
    def _axes(self) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None]:
        return self.rows, self.columns


def _count(places: Sequence[int] | None, size: int) -> int | None:
    """Count the chosen places of an axis; None: it lacks one."""
    if places is None:
        return size
    return len(places) if max(places) < size else None
