"""Keeps the record of a run in a home while it runs, and after it failed."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from offsite.errors import OffsiteError
from offsite.events import Done, Event, Failed, Log, Monitor, Progress, Started, failure
from offsite.runs.folder import Warn
from offsite.runs.record import Run
from offsite.runs.recorder import Recorder
from offsite.runs.tracking import track

_SECONDS_BETWEEN_WRITES = 30.0


class Kept(Protocol):
    """Where records are kept: `Runs`, or the private store of a cluster."""

    def keep(self, run: Run) -> None:
        """Write the record of a run; it replaces an earlier one of the same run.

        Raises:
            OffsiteError: It cannot be written.
        """
        ...

    def continued_by(self, run: Run, inputs_digest: str, warn: Warn) -> Run | None:
        """Find the record of earlier attempts at the same job with the same inputs.

        Raises:
            OffsiteError: The place is not readable.
        """
        ...


@contextmanager
def recorded(
    runs: Kept, blank: Run, monitor: Monitor, environ: Mapping[str, str] = os.environ
) -> Iterator[Monitor]:
    """Record what runs in the `with` block, however it ends; gives the monitor to run it with.

    The record is also written while the stage runs, so that the record of a killed process shows
    how far it came. If `OFFSITE_MLFLOW_URI` is set, the run is logged there, too. A failure
    of either is logged, and does not fail the stage.

    Args:
        blank: The record that `begin` made.
        monitor: The monitor of the stage.
    """
    recording = _Recording(runs, blank, monitor, environ)
    try:
        # it comes before the monitor's own readers, for whom the last event decides
        yield monitor.with_copy(recording.receive)
    except BaseException as error:
        recording.receive(failure(error))
        raise


class _Recording:
    """The record of a run that is kept as it grows."""

    def __init__(
        self, runs: Kept, blank: Run, monitor: Monitor, environ: Mapping[str, str]
    ) -> None:
        self._runs, self._blank, self._monitor, self._environ = runs, blank, monitor, environ
        self._recorder = Recorder(blank)
        self._written = float("-inf")

    def receive(self, event: Event) -> None:
        """Take in one event of the stage."""
        self._recorder.receive(event)
        if isinstance(event, Started):
            self._continue(event.fingerprint)
        due = time.monotonic() - self._written >= _SECONDS_BETWEEN_WRITES
        if due or not isinstance(event, Log | Progress):
            self._save()
        if isinstance(event, Done | Failed):
            track(self._recorder.run, self._environ, self._monitor.log)

    def _continue(self, inputs_digest: str) -> None:
        try:
            earlier = self._runs.continued_by(self._blank, inputs_digest, lambda message: None)
        except OffsiteError:  # saving says why
            return
        if earlier is not None:
            self._recorder.continues(earlier)

    def _save(self) -> None:
        self._written = time.monotonic()
        try:
            self._runs.keep(self._recorder.run)
        except OffsiteError as error:
            self._monitor.log(f"the record of this run was not written: {error}")
