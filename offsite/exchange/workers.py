"""Worker processes that seal and open shards: Tink for Python holds the interpreter's lock."""

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
"""Also on few cores: while some seal or open, others transfer."""


def in_workers(
    task: Callable[[Item], Result], items: Sequence[Item], size: int
) -> Iterator[Result]:
    """Run a task on each item in worker processes; yields results as they complete.

    Args:
        task: Must be picklable, as must items and results.
        size: Total bytes of all items; small totals run in this process.

    Raises:
        OffsiteError: A worker was killed; else what the task raises.
    """
    if size <= SHARD_SIZE:
        yield from map(task, items)
        return
    count = min(_WORKERS, len(items))
    # no fork: threads of this process (torch has some) could hold locks
    context = multiprocessing.get_context("forkserver")
    # the fork server imports the package once for all workers
    context.set_forkserver_preload(["offsite.exchange"])
    pool = ProcessPoolExecutor(count, context, initializer=_follow_parent)
    try:
        # submit no more than can run: results that are not yielded are lost
        waiting = iter(items)
        running = {pool.submit(task, item) for item in islice(waiting, count)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            running |= {pool.submit(task, item) for item in islice(waiting, len(done))}
            yield from [each.result() for each in done]
    except BrokenProcessPool as error:
        raise OffsiteError(
            "a worker process was killed; if it ran out of memory, give the job more, and run it "
            "again"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _follow_parent() -> None:
    """Exit with the parent, even if it is killed; leave terminal interrupts to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
