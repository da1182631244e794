"""A stage in a process of its own, as each party would run it, and what it costs."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from offsite.errors import InputError, OffsiteError
from offsite.events import Event


@dataclass
class Outcome:
    """What a stage reported, and what it took."""

    seconds: float = 0.0
    peak_bytes: int = 0
    """Largest resident memory of the process."""
    figures: dict[str, float] = field(default_factory=dict)
    """Measured figures by setting."""
    size_bytes: int = 0
    """Of what it published."""


def run_stage(
    job: Path, party: str, home: Path, exchange: str, show: Callable[[Event], None]
) -> Outcome:
    """Run `offsite run` on a job file in a process of its own, and show what it tells.

    Raises:
        OffsiteError, InputError: the stage failed, with its own message.
    """
    command = [sys.executable, "-m", "offsite_cli", "run", str(job), "--output", "json"]
    command += ["--party", party, "--home", str(home), "--exchange", exchange]
    outcome, began = Outcome(), time.monotonic()
    failure: Event | None = None
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            event: Event = json.loads(line)
            show(event)
            _take(event, outcome)
            failure = event if event["event"] == "failed" else failure
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    outcome.seconds = time.monotonic() - began
    outcome.peak_bytes = usage.ru_maxrss * 1024
    if process.returncode:
        message = failure["message"] if failure else f"it ended with {process.returncode}"
        raise (InputError if process.returncode == 2 else OffsiteError)(f"{job.name}: {message}")
    return outcome


def _take(event: Event, outcome: Outcome) -> None:
    if event["event"] == "metric":
        outcome.figures[event["setting"]] = event["value"]
    elif event["event"] == "artifact":
        outcome.size_bytes = event["sizeBytes"]
