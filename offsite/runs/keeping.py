"""Keeps the record of a run in a home while it runs, and after it failed."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from offsite.errors import OffsiteError
from offsite.events import Event, Log, Monitor, Progress, Started, failure
from offsite.runs.folder import Runs
from offsite.runs.record import Run
from offsite.runs.recorder import Recorder

_SECONDS_BETWEEN_WRITES = 30.0


@contextmanager
def recorded(runs: Runs, blank: Run, monitor: Monitor) -> Iterator["Recording"]:
    """Record what runs in the `with` block, however it ends.

    The record is also written while the stage runs, so that the record of a killed process shows
    how far it came. A record that cannot be written does not fail the stage.

    Args:
        blank: The record that `begin` made.
        monitor: The monitor of the stage.
    """
    recording = Recording(runs, blank, monitor)
    try:
        yield recording
    except BaseException as error:
        recording.recorder.receive(failure(error))
        raise
    finally:
        recording.save()


class Recording:
    """The record of a run that is kept as it grows; use `recorded`."""

    def __init__(self, runs: Runs, blank: Run, monitor: Monitor) -> None:
        self.recorder = Recorder(blank)
        self.monitor = monitor.with_copy(self._receive)
        """The monitor to run the stage with."""
        self._runs, self._blank, self._outer = runs, blank, monitor
        self._written = float("-inf")

    def save(self) -> None:
        """Write the record."""
        self._written = time.monotonic()
        try:
            self._runs.keep(self.recorder.run)
        except OffsiteError as error:
            self._outer.log(f"the record of this run was not written: {error}")

    def _receive(self, event: Event) -> None:
        self.recorder.receive(event)
        if isinstance(event, Started):
            self._continue(event.fingerprint)
        due = time.monotonic() - self._written >= _SECONDS_BETWEEN_WRITES
        if due or not isinstance(event, Log | Progress):
            self.save()

    def _continue(self, inputs_digest: str) -> None:
        try:
            earlier = self._runs.continued_by(self._blank, inputs_digest, lambda message: None)
        except OffsiteError:  # saving says why
            return
        if earlier is not None:
            self.recorder.continues(earlier)
