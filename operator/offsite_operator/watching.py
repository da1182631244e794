"""kopf's watches: opened anew when they fail, and when there are other kinds to watch.

What happens while none is open is found by the resync.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import suppress

import kopf

from offsite_operator.api import RAY_JOBS, Api
from offsite_operator.handlers import registered, settings
from offsite_operator.worker import Key
from offsite_operator.workqueue import WorkQueue

log = logging.getLogger(__name__)
_AFTER_ERROR = 10.0
_GLANCE = 0.5
"""Seconds between two looks whether it is over."""
_FAREWELL = 0.5
"""Seconds for the server to end TLS: aiohttp does not wait for that when it closes a response."""


class Watches:
    """Watches of the kinds that the cluster served when they were opened.

    kopf by itself hears of new kinds only where it may watch CRDs, as no Role of a namespace says.
    """

    def __init__(self, api: Api, queue: WorkQueue[Key]) -> None:
        self._api, self._queue = api, queue
        self._ray = False
        self._outdated = threading.Event()

    def run(self, stop: threading.Event) -> None:
        """Watch until told to stop."""
        while not stop.is_set():
            self._outdated.clear()
            try:
                # before kopf asks: what it finds beside that is watched one time too often
                self._ray = self._api.serves(RAY_JOBS)
                asyncio.run(self._watch(lambda: stop.is_set() or self._outdated.is_set()))
            except Exception:  # kopf has many; the resync goes on
                log.warning("the watches failed, and are opened anew", exc_info=True)
                stop.wait(_AFTER_ERROR)

    def match(self, ray: bool) -> None:
        """Open them anew if the cluster serves RayJobs now and did not, or the other way round."""
        if ray != self._ray:
            self._outdated.set()

    async def _watch(self, over: Callable[[], bool]) -> None:
        watches = asyncio.create_task(
            kopf.operator(
                registry=registered(self._queue, self._api.client.configuration),
                settings=settings(),
                namespaces=[self._api.namespace],
                standalone=True,
            )
        )
        while not over() and not watches.done():
            await asyncio.wait({watches}, timeout=_GLANCE)
        watches.cancel()
        with suppress(asyncio.CancelledError):
            await watches
        await asyncio.sleep(_FAREWELL)
