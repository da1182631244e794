"""Runs a step as a child process, and keeps what it prints.

The child may crash in native code, or be killed for its memory; this process still keeps its last
words. If this process is killed, the child ends, too: it waits for the end of its standard input
(`end_with_parent`). Signals are passed on. The output is passed on first, byte by byte: a store
that does not answer neither delays nor fails the step.

It imports little, so that the child begins at once.
"""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import IO, TYPE_CHECKING

from offsite.process.signals import forwarding

if TYPE_CHECKING:
    from offsite.logs.keeper import Keeper

_PIECE = 64 << 10
_LONGEST = 64 << 10
"""Bytes of a line that are held until its end."""
_PATIENCE = 20.0
"""Seconds to wait for the store at the end; a pod gets 60 to stop."""
_DRAIN = 5.0
"""Seconds to wait for output after the end; what the step left running may hold it open."""

Keep = Callable[[bytes], None]


def supervise(command: Sequence[str], begin: "Callable[[], Keeper | None]") -> int:
    """Run a command to its end, pass on its output, and keep it.

    Args:
        begin: Begins to keep the log, once the command runs; None: it is not kept.

    Returns:
        The command's exit code; if a signal ended it, 128 plus the signal's number.
    """
    pipe = subprocess.PIPE
    # in a group of its own: a signal to this process's group would reach it twice
    with (
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, process_group=0) as process,
        forwarding(process),
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        keeper = begin()
        keep = _ignore if keeper is None else keeper.keep
        pumps = [_pump(process.stdout, 1, keep), _pump(process.stderr, 2, keep)]
        code = process.wait()
        for pump in pumps:
            pump.join(_DRAIN)
    if code < 0:
        _say(f"the process was ended by {signal.Signals(-code).name}", keep)
    if keeper is not None and (problem := keeper.close(_PATIENCE)):
        _say(f"could not keep all of this log: {problem}", _ignore)
    return code if code >= 0 else 128 - code


def end_with_parent() -> None:
    """End this process at once when the one that supervises it is gone."""

    def watch() -> None:
        with suppress(OSError):
            while os.read(0, _PIECE):
                pass
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def _ignore(line: bytes) -> None:
    pass


def _say(message: str, keep: Keep) -> None:
    line = f"offsite: {message}".encode()
    _write(2, line + b"\n")
    keep(line)


def _pump(stream: IO[bytes], target: int, keep: Keep) -> threading.Thread:
    thread = threading.Thread(target=_pass_on, args=(stream.fileno(), target, keep), daemon=True)
    thread.start()
    return thread


def _pass_on(source: int, target: int, keep: Keep) -> None:
    rest = b""
    while piece := os.read(source, _PIECE):
        _write(target, piece)
        *lines, last = piece.split(b"\n")
        for line in lines:
            keep(rest + line)
            rest = b""
        rest = (rest + last)[:_LONGEST]
    if rest:
        keep(rest)


def _write(target: int, content: bytes) -> None:
    with suppress(OSError):  # the reader is gone, which is no reason to stop the work
        while content:
            content = content[os.write(target, content) :]
