"""The operator as a whole: a few workers, one resync on a clock, and kopf's watches."""

import asyncio
import logging
import threading

import kopf

from offsite_operator.api import Api, ApiError
from offsite_operator.handlers import registered, settings
from offsite_operator.incoming import Inquiry
from offsite_operator.logbook import LogBook
from offsite_operator.metrics import Metrics
from offsite_operator.settings import Settings
from offsite_operator.worker import Key, Worker
from offsite_operator.workqueue import WorkQueue

log = logging.getLogger(__name__)
_WORKERS = 4


def operate(
    api: Api, chosen: Settings, desk: Inquiry, metrics: Metrics, stop: threading.Event
) -> None:
    """Operate one namespace, until told to stop or signalled.

    Args:
        desk: who knows what peers sent.
    """
    queue = WorkQueue[Key]()
    worker = Worker(api, chosen, desk, metrics, queue, LogBook(api))
    threads = [threading.Thread(target=worker.run, name=f"worker-{n}") for n in range(_WORKERS)]
    threads.append(
        threading.Thread(target=_resync, args=(worker, chosen.resync_seconds, stop), name="resync")
    )
    for thread in threads:
        thread.start()
    try:
        asyncio.run(_watch(api, queue, stop))
    finally:
        stop.set()
        queue.close()
        for thread in threads:
            thread.join()


async def _watch(api: Api, queue: WorkQueue[Key], stop: threading.Event) -> None:
    await kopf.operator(
        registry=registered(queue, api.client.configuration),
        settings=settings(),
        namespaces=[api.namespace],
        standalone=True,
        stop_flag=stop,
    )


def _resync(worker: Worker, interval: float, stop: threading.Event) -> None:
    """Look at everything on a clock, whatever a watch may have missed."""
    while True:
        try:
            worker.resync()
        except ApiError as error:
            log.warning("cannot list what is there: %s", error)
        except Exception:  # the next one may be spared; if not, /healthz says so
            log.exception("a bug in the resync")
        if stop.wait(interval):
            return
