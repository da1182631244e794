"""How a process begins and ends that has torch: with transformers it is thousands of modules."""

import atexit
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn


@contextmanager
def uncollected() -> Iterator[None]:
    """Look for no garbage while the `with` block imports: there is none, and it takes a second."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def leave(code: int) -> NoReturn:
    """End this process, at once if it has torch: to let go of all its objects takes seconds.

    What was registered with `atexit` is done, and what was printed is written.

    Raises:
        SystemExit: it has no torch.
    """
    if "torch" not in sys.modules:
        sys.exit(code)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # nobody reads it any more
            stream.flush()
    os._exit(code)
