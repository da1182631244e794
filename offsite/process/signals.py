"""Ends a stage cleanly on SIGTERM and SIGINT."""

import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_HANDLED = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def _handled(handle: Callable[[int], None], *, once: bool = False) -> Iterator[None]:
    """Handle SIGTERM and SIGINT in the `with` block, or only once."""
    former = {each: signal.getsignal(each) for each in _HANDLED}

    def restore() -> None:
        for each, handler in former.items():
            signal.signal(each, handler)

    def receive(number: int, _frame: FrameType | None) -> None:
        handle(number)
        if once:
            restore()

    for each in _HANDLED:
        signal.signal(each, receive)
    try:
        yield
    finally:
        restore()


@contextmanager
def forwarding(process: subprocess.Popen[Any]) -> Iterator[None]:
    """Forward SIGTERM and SIGINT to another process in the `with` block."""
    with _handled(process.send_signal):
        yield


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """Turn the first SIGTERM or SIGINT into an event; a second one ends the process as usual."""
    stop = threading.Event()
    with _handled(lambda _number: stop.set(), once=True):
        yield stop
