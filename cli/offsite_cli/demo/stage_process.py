"""Run a stage as its party would, in a process of its own, and measure time and memory."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile

from offsite.errors import InputError, NotAllowedError, OffsiteError, UnreachableError
from offsite.events import Artifact, Done, Event, Failed, Metric, PrivacyReport, parse_event
from offsite.process.signals import forwarding


@dataclass
class Outcome:
    """The results of a stage, and its costs."""

    seconds: float = 0.0
    peak_bytes: int = 0
    """Peak resident memory of the process."""
    figures: dict[str, float | None] = field(default_factory=dict)
    """By setting: the metric that counts, which is reported before others of the same setting."""
    privacy: PrivacyReport | None = None
    """Differential privacy of the published adapter."""
    size_bytes: int = 0
    """Size of the published bundle or model."""

    def record(self, event: Event | None) -> None:
        """Take what an event says of the results and the costs."""
        if isinstance(event, Metric):
            self.figures.setdefault(event.setting, event.value)
        elif isinstance(event, PrivacyReport):
            self.privacy = event
        elif isinstance(event, Artifact):
            self.size_bytes = event.size_bytes
        elif isinstance(event, Done):
            self.peak_bytes = event.peak_memory_bytes or 0


def run_stage(
    job: Path, home: Path, exchange: str, environ: dict[str, str], show: Callable[[Event], None]
) -> Outcome:
    """Run `offsite run` on a job file in a process of its own, and show its events.

    Raises:
        OffsiteError: the stage failed; with its message and its exit code.
    """
    command = [sys.executable, "-P", "-m", "offsite_cli", "run", str(job), "--output", "json"]
    command += ["--home", str(home), "--exchange", exchange]
    outcome, began = Outcome(), time.monotonic()
    last: Event | None = None
    # in a process group of its own, so that Ctrl-C reaches it once, forwarded by this process
    with (
        TemporaryFile("w+") as stderr,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            process_group=0,
            env={**os.environ, **environ},
        ) as process,
        forwarding(process),
    ):
        assert process.stdout is not None
        for line in process.stdout:
            last = parse_event(line)
            outcome.record(last)
            if last is not None and not isinstance(last, Failed | Done):
                show(last)
        code = process.wait()
        stderr.seek(0)
        errors = stderr.read()
    outcome.seconds = time.monotonic() - began
    if isinstance(last, Failed) and "Traceback" not in errors:
        raise _failure(code, last)(f"{job.name}: {last.message}")
    if code:
        raise RuntimeError(f"{job.name} ended with {code}: {errors}")
    return outcome


def _failure(code: int, event: Failed) -> type[OffsiteError]:
    """Return the class of error that belongs to the exit code of the process."""
    if code == NotAllowedError.exit_code:
        return UnreachableError if event.retryable else NotAllowedError
    return InputError if code == InputError.exit_code else OffsiteError
