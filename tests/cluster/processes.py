"""Processes that end with us: run to their end, or started with a log and waited for."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

BOUND = ("setpriv", "--pdeathsig", "KILL")
"""Put before a command, ends it with the thread that started it, however that ended."""

BOUND_TREE = (*BOUND, "unshare", "--pid", "--fork", "--kill-child")
"""The same, with all that it starts (as root). What it starts can enter no other PID namespace."""

_PATIENCE = 60.0
_TOLD = 3000


def end_in_order() -> None:
    """Let SIGTERM end this program as an error would: what it made is removed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def run(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    given: str | Path | None = None,
    bound: Sequence[str] = BOUND,
) -> str:
    """Run a command to its end, which is ours at the latest; give what it printed.

    Args:
        environment: all of it; none: our own.
        given: what it reads on stdin, or the file with it.
        bound: what binds it to us.

    Raises:
        RuntimeError: it failed; the message has what it said last.
    """
    with _source(given) as stdin:
        done = subprocess.run([*bound, *command], env=environment, stdin=stdin, capture_output=True)
    if done.returncode != 0:
        said = (done.stdout + done.stderr).decode(errors="replace")
        raise RuntimeError(f"`{' '.join(command)}` failed:\n{said[-_TOLD:]}")
    return done.stdout.decode()


def spawn(command: Sequence[str], environment: Mapping[str, str], log: Path) -> int:
    """Start a process in a session of its own, without stdin; give its id.

    Raises:
        RuntimeError: the command is not on the PATH of that environment.
    """
    program = shutil.which(command[0], path=environment["PATH"])
    if program is None:
        raise RuntimeError(f"{command[0]} is not on the PATH")
    return os.posix_spawn(
        program,
        list(command),
        environment,
        setsid=True,  # an interrupt on the terminal is not for it
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
    )


def wait_until(happened: Callable[[], bool], pid: int, log: Path) -> None:
    """Wait for what a child of ours is to do.

    Raises:
        RuntimeError: it ended, or takes too long; the message has the end of its log.
    """
    end = time.monotonic() + _PATIENCE
    while not happened():
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended or time.monotonic() > end:
            what = f"ended ({status=})" if ended else "was not ready in time"
            told = log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise RuntimeError(f"{log.stem} {what}:\n{told}")
        time.sleep(0.05)


def wait_for(
    happened: Callable[[], bool], seconds: float = _PATIENCE, *, pause: float = 1.0
) -> None:
    """Wait until a condition holds.

    Args:
        pause: the longest one between two looks, in seconds.

    Raises:
        RuntimeError: it takes too long.
    """
    began = time.monotonic()
    while not happened():
        waited = time.monotonic() - began
        if waited > seconds:
            raise RuntimeError(f"waited {seconds:.0f} s in vain")
        # a look may be the start of a program: not at the cost of what is waited for
        time.sleep(min(0.1 + waited / 20, pause))


@contextmanager
def _source(given: str | Path | None) -> Iterator[IO[bytes]]:
    with given.open("rb") if isinstance(given, Path) else TemporaryFile() as file:
        if isinstance(given, str):
            file.write(given.encode())
            file.seek(0)
        yield file
