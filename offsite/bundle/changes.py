"""How much of each weight a returned adapter changes, and whether its owner allows that. No torch.

The step that plugs in measures what it adds to the weights in memory, and the step that exports
compares the files. Both compare what they measured here.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from offsite.errors import BundleError


class Place(NamedTuple):
    """A weight of the full model."""

    block: int | None
    """The block that it is in; None: it is outside the blocks."""
    name: str
    """Its name in the block; outside the blocks, its name in the model."""

    def __str__(self) -> str:
        return self.name if self.block is None else f"{self.name} of block {self.block}"

    @property
    def order(self) -> tuple[int, str]:
        """By this places are sorted: outside the blocks first, then bottom up."""
        return (-1 if self.block is None else self.block, self.name)

    @property
    def beside(self) -> "Place":
        """The weight of the same module."""
        return Place(self.block, f"{self.name.rpartition('.')[0]}.weight")


def relative(changes: Mapping[Place, float], own: Mapping[Place, float]) -> dict[Place, float]:
    """Divide the norm of each change by that of the weight that it was added to.

    A bias, which may be zero, is compared with the weight and the bias of its module together. What
    is compared with zeros is infinite.

    Args:
        own: the norms of the weights as they were; those of a changed bias's module too.
    """
    found: dict[Place, float] = {}
    for place, change in changes.items():
        beside = own.get(place.beside, 0.0) if place.name.endswith(".bias") else 0.0
        norm = math.hypot(own[place], beside)
        found[place] = change / norm if norm else math.inf if change else 0.0
    return found


def check_change(changes: Mapping[Place, float], most: float, adapter: str) -> None:
    """Check that no weight is changed by more than its owner allows.

    Args:
        changes: as `relative` gives them.
        most: the largest that is allowed.
        adapter: its name.

    Raises:
        BundleError: one is, or is changed by what is no number.
    """
    if all(value <= most for value in changes.values()):
        return
    place, largest = max(changes.items(), key=_by_size)
    raise BundleError(
        f"the adapter {adapter} changes {place} by {largest:.3g} times its norm, and this "
        f"organization allows {most:g} (maxChange); ask for an adapter that is trained less, or "
        "make alpha smaller"
    )


def _by_size(change: tuple[Place, float]) -> float:
    return math.inf if math.isnan(change[1]) else change[1]
