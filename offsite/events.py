"""Events of a running stage: one flat JSON object each.

    {"event": "progress", "phase": "tune", "step": 10, "totalSteps": 60, "percent": 16.7, …}
    {"event": "metric", "name": "perplexity", "setting": "emulator_tuned", "value": 9.7, …}
    {"event": "log", "message": "…"}
    {"event": "notice", "stage": "Distill", "reason": "DataError", "message": "…"}
    {"event": "artifact", "name": "support-adapter", "digest": "sha256:…", "uri": …, "sizeBytes": …}
    {"event": "failed", "reason": "BundleError", "retryable": false, "message": "…"}
    {"event": "done", "peakMemoryBytes": …}

A figure that is infinite or no number is null. A notice is what the peer says of a stage of its own
that failed. The last event decides: `done`, or `failed`. The operator, `offsite logs` and the
progress bar read these and nothing else; the core never writes to the terminal itself.

In a pod's log an event is a line that begins with `offsite-event` and the pod's mark, a random
number that whoever makes the pod draws for it. What libraries print of a peer's files, or of a
store's answers, stands in the same log, and knows no mark.
"""

import json
import math
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from offsite.errors import InterruptedStage, OffsiteError
from offsite.text import as_json, printable

Event = dict[str, Any]
Emit = Callable[[Event], None]

MARK = "OFFSITE_EVENT_MARK"
"""The variable of a pod's environment that holds its mark."""
EVENT_MARK = "offsite-tuning.dev/event-mark"
"""The annotation of a pod that holds its mark, for whoever reads its log."""
_LINE = "offsite-event"
_SECONDS_BETWEEN_PROGRESS = 0.5
_OUTSIDE = (OSError, MemoryError, RuntimeError)
"""What is no error of ours and yet may pass: a device, a driver or a mounted disk that failed."""


def new_mark() -> str:
    """Draw the mark of one pod's events."""
    return secrets.token_hex(16)


def mark_of(environ: Mapping[str, str]) -> str:
    """Get the mark of this pod; a process that was started by hand has none, and needs none."""
    return environ.get(MARK, "")


def as_line(event: Event, mark: str) -> str:
    """Write an event as a line of a pod's log."""
    return f"{_LINE} {mark} {as_json(event)}"


def event_of(line: str, mark: str) -> Event | None:
    """Read an event from a line of a pod's log; None: it is a log line.

    Args:
        mark: of the pod; of one without a mark no line is an event.
    """
    prefix = f"{_LINE} {mark} "
    if not mark or not line.startswith(prefix):
        return None
    try:
        event = json.loads(line.removeprefix(prefix))
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


def failure(error: BaseException) -> Event:
    """Tell why a stage ended without a result; what is no `OffsiteError` may be a bug."""
    again = error.retryable if isinstance(error, OffsiteError) else isinstance(error, _OUTSIDE)
    return {
        "event": "failed",
        "reason": type(error).__name__,
        "retryable": again,
        "message": str(error) if isinstance(error, OffsiteError) else printable(str(error)),
    }


class Monitor:
    """Where a stage's code tells what it does, and learns that it shall stop."""

    def __init__(self, emit: Emit, stop: threading.Event | None = None) -> None:
        self.emit = emit
        self._stop = stop or threading.Event()

    @property
    def stopping(self) -> bool:
        """Whether a signal asked the stage to end."""
        return self._stop.is_set()

    def check(self) -> None:
        """Raise `InterruptedStage` if a signal asked the stage to end."""
        if self.stopping:
            raise InterruptedStage("stopped by a signal; run the same command again to go on")

    def log(self, message: str) -> None:
        """Tell something worth knowing that is no failure."""
        self.emit({"event": "log", "message": message})

    def metric(self, name: str, setting: str, value: float, **facts: Any) -> float | None:
        """Tell a measured figure: what was measured (`name`), and of which model (`setting`).

        Returns:
            the value as it was told: None if it is not finite.
        """
        told = value if math.isfinite(value) else None
        self.emit({"event": "metric", "name": name, "setting": setting, "value": told, **facts})
        return told

    def artifact(self, name: str, digest: str, uri: str, size: int) -> None:
        """Tell what was published, by the digest of its manifest; `size` in bytes."""
        facts = {"name": name, "digest": digest, "uri": uri, "sizeBytes": size}
        self.emit({"event": "artifact", **facts})

    def track(self, phase: str, total: int, *, start: int = 0) -> "Tracker":
        """Begin to report on `total` units of work, of which `start` were done before."""
        return Tracker(self, phase, total, start)


class Tracker:
    """Reports on one phase's progress, at most twice a second, with rate and time to go."""

    def __init__(self, monitor: Monitor, phase: str, total: int, start: int) -> None:
        self._monitor, self._phase, self._total = monitor, phase, total
        self._start = self._step = start
        self._tokens = 0
        self._began = time.monotonic()
        self._told = float("-inf")

    def advance(self, *, tokens: int = 0, loss: float | None = None) -> None:
        """Count one more unit done; `tokens` were processed in it, `loss` is the newest."""
        self._step += 1
        self._tokens += tokens
        now = time.monotonic()
        if now - self._told >= _SECONDS_BETWEEN_PROGRESS or self._step == self._total:
            self._told = now
            self._monitor.emit(self._event(now - self._began, loss))

    def _event(self, elapsed: float, loss: float | None) -> Event:
        done = self._step - self._start
        event: Event = {
            "event": "progress",
            "phase": self._phase,
            "step": self._step,
            "totalSteps": self._total,
            "percent": round(100 * self._step / self._total, 1),
            "etaSeconds": round(elapsed / done * (self._total - self._step), 1),
        }
        if loss is not None:
            event["loss"] = round(loss, 4)
        if self._tokens:
            event["tokensPerSecond"] = round(self._tokens / max(elapsed, 1e-9), 1)
        return event
