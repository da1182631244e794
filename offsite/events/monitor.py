"""Where a stage's code reports what it does, and checks whether it has to stop."""

import math
import threading
import time
from collections.abc import Callable

from offsite.errors import InterruptedStage, OffsiteError
from offsite.events.types import Artifact, Event, Failed, Log, Metric, Progress
from offsite.text import printable

Emit = Callable[[Event], None]
Interval = tuple[float, float]

_SECONDS_BETWEEN_PROGRESS = 0.5
_OUTSIDE = (OSError, MemoryError, RuntimeError)
"""Errors that are not ours and yet may pass: a device, a driver or a mounted disk failed."""


def failure(error: BaseException) -> Failed:
    """Describe why a stage ended without a result; what is no `OffsiteError` may be a bug."""
    again = error.retryable if isinstance(error, OffsiteError) else isinstance(error, _OUTSIDE)
    message = str(error) if isinstance(error, OffsiteError) else printable(str(error))
    return Failed(reason=type(error).__name__, retryable=again, message=message)


class Monitor:
    """Takes the events of a stage, and exposes cancellation."""

    def __init__(self, emit: Emit, stop: threading.Event | None = None) -> None:
        self.emit = emit
        self._stop = stop or threading.Event()

    def with_copy(self, also: Emit) -> "Monitor":
        """Return a monitor of the same stage that passes each event to `also`, too."""

        def both(event: Event) -> None:
            also(event)
            self.emit(event)

        return Monitor(both, self._stop)

    def mapped(self, change: Callable[[Event], Event]) -> "Monitor":
        """Return a monitor of the same stage that passes each event on as `change` makes it."""
        return Monitor(lambda event: self.emit(change(event)), self._stop)

    def without(self, kind: type[Event]) -> "Monitor":
        """Return a monitor of the same stage that drops the events of a kind."""

        def others(event: Event) -> None:
            if not isinstance(event, kind):
                self.emit(event)

        return Monitor(others, self._stop)

    @property
    def stopping(self) -> bool:
        """Whether a signal asked the stage to end."""
        return self._stop.is_set()

    def check(self) -> None:
        """Raise `InterruptedStage` if a signal asked the stage to end."""
        if self.stopping:
            raise InterruptedStage("stopped by a signal; run the same command again to go on")

    def log(self, message: str) -> None:
        """Report something worth knowing that is no failure."""
        self.emit(Log(message=message))

    def metric(
        self,
        name: str,
        setting: str,
        value: float,
        text: str | None = None,
        interval: Interval | None = None,
        *,
        over: str | None = None,
        gain: float | None = None,
        gain_interval: Interval | None = None,
    ) -> float | None:
        """Report a measured figure.

        Args:
            name: what was measured.
            setting: of which model.
            text: digest of the data that was used.
            interval: the 95 % confidence interval of the value.
            over: the setting that `gain` compares with.
            gain, gain_interval: As the fields of `Metric`.

        Returns:
            the value as it was reported: None if it is not finite.
        """
        metric = Metric(
            name=name,
            setting=setting,
            value=_finite(value),
            text=text,
            interval=interval,
            over=over,
            gain=_finite(gain),
            gain_interval=gain_interval,
        )
        self.emit(metric)
        return metric.value

    def artifact(self, name: str, digest: str, uri: str, size: int) -> None:
        """Report what was published, by the digest of its manifest; `size` in bytes."""
        self.emit(Artifact(name=name, digest=digest, uri=uri, size_bytes=size))

    def track(self, phase: str, total: int, *, start: int = 0) -> "Tracker":
        """Begin to report on `total` units of work, of which `start` were done before."""
        return Tracker(self, phase, total, start)


class Tracker:
    """Reports on one phase's progress, at most twice a second, with rate and time to go."""

    def __init__(self, monitor: Monitor, phase: str, total: int, start: int) -> None:
        self._monitor, self._phase, self._total = monitor, phase, total
        self._start = self._step = start
        self._units, self._unit = 0, ""
        self._began = time.monotonic()
        self._reported = float("-inf")

    def advance(self, *, units: int = 0, unit: str = "", loss: float | None = None) -> None:
        """Count one more step done.

        Args:
            units: how much was processed in it.
            unit: what is counted, in the plural. The rates of `tokens` and `images` are reported.
            loss: the newest.
        """
        self._step += 1
        self._units, self._unit = self._units + units, unit
        now = time.monotonic()
        if now - self._reported >= _SECONDS_BETWEEN_PROGRESS or self._step == self._total:
            self._reported = now
            self._monitor.emit(self._event(now - self._began, loss))

    def _event(self, elapsed: float, loss: float | None) -> Progress:
        done = self._step - self._start
        rate = round(self._units / max(elapsed, 1e-9), 1)
        return Progress(
            phase=self._phase,
            step=self._step,
            total_steps=self._total,
            percent=round(100 * self._step / self._total, 1),
            eta_seconds=round(elapsed / done * (self._total - self._step), 1),
            loss=None if loss is None or not math.isfinite(loss) else round(loss, 4),
            tokens_per_second=rate if self._unit == "tokens" else None,
            images_per_second=rate if self._unit == "images" else None,
        )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
