"""A stage in a process of its own, as each party would run it, and what it costs."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile

from offsite.errors import InputError, NotAllowedError, OffsiteError, UnreachableError
from offsite.events import Event
from offsite.process.signals import forwarding


@dataclass
class Outcome:
    """What a stage reported, and what it took."""

    seconds: float = 0.0
    peak_bytes: int = 0
    """Largest resident memory of the process."""
    figures: dict[str, float | None] = field(default_factory=dict)
    """Measured figures by setting."""
    size_bytes: int = 0
    """Of what it published."""


def run_stage(
    job: Path, home: Path, exchange: str, environ: dict[str, str], show: Callable[[Event], None]
) -> Outcome:
    """Run `offsite run` on a job file in a process of its own, and show what it tells.

    Raises:
        OffsiteError: the stage failed, with its own message and its own exit code.
    """
    command = [sys.executable, "-P", "-m", "offsite_cli", "run", str(job), "--output", "json"]
    command += ["--home", str(home), "--exchange", exchange]
    outcome, began, last = Outcome(), time.monotonic(), Event()
    # a process group of its own: a terminal's interrupt reaches it once, through us
    with (
        TemporaryFile("w+") as complaint,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaint,
            text=True,
            process_group=0,
            env={**os.environ, **environ},
        ) as process,
        forwarding(process),
    ):
        assert process.stdout is not None
        for line in process.stdout:
            last = json.loads(line)
            _take(last, outcome)
            if last["event"] not in ("failed", "done"):
                show(last)
        code = process.wait()
        complaint.seek(0)
        complained = complaint.read()
    outcome.seconds = time.monotonic() - began
    if last.get("event") == "failed" and "Traceback" not in complained:
        raise _failure(code, last)(f"{job.name}: {last['message']}")
    if code:
        raise RuntimeError(f"{job.name} ended with {code}: {complained}")
    return outcome


def _failure(code: int, event: Event) -> type[OffsiteError]:
    """Find the class of a failure by what the stage's process made of it."""
    if code == NotAllowedError.exit_code:
        return UnreachableError if event["retryable"] else NotAllowedError
    return InputError if code == InputError.exit_code else OffsiteError


def _take(event: Event, outcome: Outcome) -> None:
    if event["event"] == "metric":
        outcome.figures[event["setting"]] = event["value"]
    elif event["event"] == "artifact":
        outcome.size_bytes = event["sizeBytes"]
    elif event["event"] == "done":
        outcome.peak_bytes = event["peakMemoryBytes"]
