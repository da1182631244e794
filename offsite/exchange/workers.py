"""Processes that seal and open shards: Tink for Python holds the interpreter's lock."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

from offsite.errors import OffsiteError
from offsite.sealing import SHARD_SIZE

Item = TypeVar("Item")
Result = TypeVar("Result")

_WORKERS = 4
"""On few cores, too: while some seal or open, others keep the link busy."""


def in_workers(
    task: Callable[[Item], Result], items: Sequence[Item], size: int
) -> Iterator[Result]:
    """Do a task on each item; results come as they are done.

    Args:
        task: can be pickled, as items and results can.
        size: bytes of all items together; few are done in this process.

    Raises:
        OffsiteError: a worker was killed; else what the task raises.
    """
    if size <= SHARD_SIZE:
        yield from map(task, items)
        return
    count = min(_WORKERS, len(items))
    # no fork: threads of this process (torch has some) could hold locks
    context = multiprocessing.get_context("forkserver")
    # what they need is imported once, by the server that they are forked from
    context.set_forkserver_preload(["offsite.exchange"])
    pool = ProcessPoolExecutor(count, context, initializer=_follow_parent)
    try:
        # no more than are worked on: what is done when this is left is lost
        waiting = iter(items)
        running = {pool.submit(task, item) for item in islice(waiting, count)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            running |= {pool.submit(task, item) for item in islice(waiting, len(done))}
            yield from [each.result() for each in done]
    except BrokenProcessPool as error:
        raise OffsiteError(
            "a worker process was killed; if memory was short, give the job more, and run it again"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _follow_parent() -> None:
    """End with the parent, also when it is killed; leave the terminal's interrupts to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
