"""Events as they are on the wire, which is what tests look at."""

from collections.abc import Callable
from typing import Any

from offsite.events import Event

Wire = dict[str, Any]


def recording(into: list[Wire]) -> Callable[[Event], None]:
    """Collect events as JSON objects."""
    return lambda event: into.append(event.wire())
