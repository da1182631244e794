"""The command `offsite` in processes of its own, without paying for `import torch` each time.

A server process imports it once, and every run is a fork of that: its own process with its own
signals, exit code, limits and files, which enters the program where the installed script does.
"""

import json
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from multiprocessing.forkserver import ensure_running
from pathlib import Path

from offsite_testing.events import Wire
from offsite_testing.parties import LAB, Parties

_PATIENCE = 60.0
_START = multiprocessing.get_context("forkserver")
_START.set_forkserver_preload(
    [
        "offsite_cli.app",
        "offsite_cli.run",
        "offsite.stages.run",
        "transformers.models.llama.modeling_llama",
    ]
)


def warm_up() -> None:
    """Start the server, before what seals in workers starts the one of this process with less."""
    ensure_running()


@dataclass(frozen=True)
class Command:
    """One run of the command."""

    process: ForkServerProcess
    out: Path
    err: Path

    @property
    def output(self) -> str:
        """What it wrote to stdout so far."""
        return self.out.read_text(encoding="utf-8")

    @property
    def complaint(self) -> str:
        """What it wrote to stderr so far."""
        return self.err.read_text(encoding="utf-8")

    @property
    def events(self) -> list[Wire]:
        """The events so far, without an incomplete last line."""
        whole, _, _ = self.output.rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def steps(self, phase: str) -> list[int]:
        """The reported steps of a phase so far."""
        return [event["step"] for event in self.events if event.get("phase") == phase]

    def wait(self) -> int:
        """Wait for its end; give the exit code, or the number of the signal as a negative one."""
        self.process.join(_PATIENCE)
        code = self.process.exitcode
        assert code is not None, f"still running: {self.output}"
        return code

    def interrupt(self, number: signal.Signals) -> int:
        """Send it a signal, if it still lives, and wait for its end."""
        assert self.process.pid is not None
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, number)
        return self.wait()

    def reach(self, phase: str) -> None:
        """Wait until it tells of a phase."""
        self._until(lambda: bool(self.steps(phase)))

    def reach_or_end(self, phase: str) -> None:
        """Wait until it tells of a phase, or is done, as one that has little left to do may be."""
        self._until(lambda: bool(self.steps(phase)) or not self.process.is_alive())

    def keep(self, pattern: str, folder: Path) -> None:
        """Wait until it has written a file, such as its checkpoint."""
        self._until(lambda: any(folder.glob(pattern)))

    def _until(self, happened: Callable[[], bool]) -> None:
        end = time.monotonic() + _PATIENCE
        while not happened():
            assert self.process.is_alive(), f"ended too soon: {self.output}{self.complaint}"
            assert time.monotonic() < end, f"waited in vain: {self.output}"
            time.sleep(0.001)


def start(
    parties: Parties, job: Path, *options: str, output: str = "json", most: int | None = None
) -> Command:
    """Start `offsite run` on a job file, as the party in whose folder it lies.

    Args:
        most: the largest file that it may write, in bytes.
    """
    party = job.parent.name if job.parent.parent == parties.root else LAB
    places = ["--home", str(parties.home(party) / "home")]
    exchange = f"file://{parties.exchange}"
    arguments = ["run", str(job), *places, "--exchange", exchange]
    logs = parties.root.parent / f"{parties.root.name}-logs"
    logs.mkdir(exist_ok=True)
    number = len(list(logs.iterdir()))
    out, err = logs / f"{number}.out", logs / f"{number}.err"
    out.touch()
    err.touch()
    full = [*arguments, "--output", output, *options]
    # a daemon: what hangs does not keep the test runner from its end
    process = _START.Process(target=_enter, args=(full, out, err, most), daemon=True)
    process.start()
    return Command(process, out, err)


def finish(command: Command) -> Command:
    """Wait for a run that is to succeed."""
    assert command.wait() == 0, command.output + command.complaint
    return command


def _enter(arguments: list[str], out: Path, err: Path, most: int | None) -> None:
    import torch

    from offsite_cli.app import main

    torch.set_num_threads(1)  # as in this package's other tests
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY), number)
    if most is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    sys.argv = ["offsite", *arguments]  # noqa: V101 - the command reads it
    main()
