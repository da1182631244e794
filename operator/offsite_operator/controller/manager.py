"""Starts and stops the workers, the periodic resync and the watches."""

import logging
import threading
import time
from collections.abc import Callable

from offsite_operator.cluster.client import Api, ApiError
from offsite_operator.cluster.log_cursor import LogCursor
from offsite_operator.controller.metrics import Metrics
from offsite_operator.controller.watches import Watches
from offsite_operator.controller.worker import Worker
from offsite_operator.controller.workqueue import Key, WorkQueue
from offsite_operator.exchange.inbox import Lookup
from offsite_operator.exchange.lookup_cache import LookupCache
from offsite_operator.settings import Settings

log = logging.getLogger(__name__)
_WORKERS = 4
_GRACE_SECONDS = 2.0
"""How long a shutdown waits for running reconciles, which may be interrupted at any point."""


def operate(
    api: Api, chosen: Settings, inbox: Lookup, metrics: Metrics, stop: threading.Event
) -> None:
    """Run the operator for one namespace until `stop` is set.

    Args:
        inbox: Looks up what peers sent.
    """
    queue = WorkQueue[Key]()
    lookups = LookupCache(inbox, lambda job: queue.add(Key("job", job)))
    worker = Worker(api, chosen, lookups, metrics, queue, LogCursor(api))
    watches = Watches(api, queue)
    threads = [_thread(f"worker-{n}", worker.run) for n in range(_WORKERS)]
    threads.append(_thread("resync", _resync, worker, watches, chosen.resync_seconds, stop))
    threads.append(_thread("watches", watches.run, stop))
    for thread in threads:
        thread.start()
    stop.wait()
    queue.close()
    end = time.monotonic() + _GRACE_SECONDS
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))


def _thread(name: str, work: Callable[..., None], *arguments: object) -> threading.Thread:
    return threading.Thread(target=work, args=arguments, name=name, daemon=True)


def _resync(worker: Worker, watches: Watches, interval: float, stop: threading.Event) -> None:
    """Resync periodically, to catch events that the watches missed."""
    while not stop.is_set():
        try:
            watches.match(worker.resync())
        except ApiError as error:
            log.warning("cannot list the resources of the namespace: %s", error)
        except Exception:  # the next resync may succeed; if none does, /healthz fails
            log.exception("unexpected error in the resync")
        stop.wait(interval)
