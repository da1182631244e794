"""Starting processes that log to a file, and waiting for what they are to do."""

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

BOUND = ("setpriv", "--pdeathsig", "KILL")
"""Put before a command, ends it with the thread that started it, however that ended."""

_PATIENCE = 60.0


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
