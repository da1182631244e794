"""Living through the API server's short absences, while something is followed."""

import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from offsite_cli.cluster.errors import AWAY
from offsite_cli.output import say

P = ParamSpec("P")
T = TypeVar("T")

_LONGEST = 60.0
_PAUSE = 2.0


def enduring(ask: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Ask, and ask again while nobody answers, or not now.

    Raises:
        ClusterUnreachable, ClusterBusy: nobody answered for a minute.
    """
    since = time.monotonic()
    told = False
    while True:
        try:
            return ask(*args, **kwargs)
        except AWAY as error:
            if time.monotonic() - since > _LONGEST:
                raise
            if not told:
                say(f"{error}; trying again for a minute")
            told = True
            time.sleep(_PAUSE)
