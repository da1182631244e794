"""Speeds up the start and exit of processes that import torch and transformers."""

import atexit
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn


@contextmanager
def uncollected() -> Iterator[None]:
    """Disable garbage collection while the `with` block imports, which saves a second."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def leave(code: int) -> NoReturn:
    """Exit this process; at once if it has torch, whose objects take seconds to release.

    Runs `atexit` functions and flushes the output.

    Raises:
        SystemExit: The process has no torch.
    """
    if "torch" not in sys.modules:
        sys.exit(code)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # the reader is gone
            stream.flush()
    os._exit(code)
