"""Ending a stage in good order when the system or the user asks for it."""

import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_HANDLED = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def forwarding(process: subprocess.Popen[str]) -> Iterator[None]:
    """Send every SIGTERM and SIGINT that comes meanwhile to another process instead."""
    former = {each: signal.getsignal(each) for each in _HANDLED}
    for each in former:
        signal.signal(each, lambda number, _frame: process.send_signal(number))
    try:
        yield
    finally:
        for each, handler in former.items():
            signal.signal(each, handler)


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """Turn the first SIGTERM or SIGINT into an event; a second one ends the process as usual."""
    stop = threading.Event()
    former = {each: signal.getsignal(each) for each in _HANDLED}

    def restore() -> None:
        for each, handler in former.items():
            signal.signal(each, handler)

    def ask(_number: int, _frame: FrameType | None) -> None:
        stop.set()
        restore()

    for each in former:
        signal.signal(each, ask)
    try:
        yield stop
    finally:
        restore()
