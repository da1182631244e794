"""Runs a step as a child process, and keeps what it prints.

The child may crash in native code, or be killed for its memory; this process still keeps its last
words. If this process is killed, the child ends, too: it waits for the end of its standard input
(`end_with_parent`). Signals are passed on. Output is passed on at once, line by line: a store that
does not answer neither delays nor fails the step.

It imports little, so that the child begins at once.
"""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from offsite.process.signals import forwarding

if TYPE_CHECKING:
    from offsite.logs.keeper import Keeper

_PIECE = 64 << 10
_LONGEST = 4 << 20
"""Bytes of a line that are held until its end; a longer one is split."""
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
        keep, lock = _ignore if keeper is None else keeper.keep, threading.Lock()
        pumps = [
            _pump(process.stdout.fileno(), _Target(1, keep, lock)),
            _pump(process.stderr.fileno(), _Target(2, keep, lock)),
        ]
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


@dataclass(frozen=True)
class _Target:
    """Where the lines of one stream go."""

    file: int
    keep: Keep
    lock: threading.Lock
    """Both streams become one log, in which an event begins a line."""

    def line(self, content: bytes, end: bytes = b"\n") -> None:
        with self.lock:
            _write(self.file, content + end)
            self.keep(content)


def _say(message: str, keep: Keep) -> None:
    line = f"offsite: {message}".encode()
    _write(2, line + b"\n")
    keep(line)


def _pump(source: int, target: _Target) -> threading.Thread:
    thread = threading.Thread(target=_pass_on, args=(source, target), daemon=True)
    thread.start()
    return thread


def _pass_on(source: int, target: _Target) -> None:
    rest = b""
    while piece := os.read(source, _PIECE):
        rest += piece
        if len(rest) > _LONGEST and b"\n" not in rest:
            rest += b"\n"
        *lines, rest = rest.split(b"\n")
        for line in lines:
            target.line(line)
    if rest:
        target.line(rest, end=b"")


def _write(target: int, content: bytes) -> None:
    with suppress(OSError):  # the reader is gone, which is no reason to stop the work
        while content:
            content = content[os.write(target, content) :]
