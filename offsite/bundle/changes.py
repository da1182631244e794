"""How much of each weight a returned adapter changes, and whether its owner allows that. No torch.

The step that plugs in measures what it adds to the weights in memory, and the step that exports
compares the files. Both compare what they measured here.
"""

import math
from collections.abc import Mapping

from offsite.errors import BundleError

Place = tuple[int, str]
"""A weight: the full model's block, and the name in it."""


def relative(changes: Mapping[Place, float], own: Mapping[Place, float]) -> dict[Place, float]:
    """Divide the norm of each change by that of the weight that it was added to.

    A bias, which may be zero, is compared with the weight and the bias of its module together. What
    is compared with zeros is infinite.

    Args:
        own: the norms of the weights as they were; those of a changed bias's module too.
    """
    found: dict[Place, float] = {}
    for (block, name), change in changes.items():
        module, _, kind = name.rpartition(".")
        beside = own.get((block, f"{module}.weight"), 0.0) if kind == "bias" else 0.0
        norm = math.hypot(own[block, name], beside)
        found[block, name] = change / norm if norm else math.inf if change else 0.0
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
    (block, name), largest = max(changes.items(), key=_by_size)
    raise BundleError(
        f"the adapter {adapter} changes {name} of block {block} by {largest:.3g} times its norm, "
        f"and this organization allows {most:g} (maxChange); ask for an adapter that is trained "
        "less, or make alpha smaller"
    )


def _by_size(change: tuple[Place, float]) -> float:
    return math.inf if math.isnan(change[1]) else change[1]
