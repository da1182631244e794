"""Folds the events of a stage into the record of its run."""

import time
from collections.abc import Callable

from offsite.events import (
    Artifact,
    Done,
    Egress,
    Event,
    Failed,
    Metric,
    PrivacyReport,
    Progress,
    Rates,
    Started,
)
from offsite.resources import EgressReport
from offsite.runs.merge import MOST_POINTS, latest, merged
from offsite.runs.record import Outcome, Point, Run
from offsite.wire import now

_OUTCOMES: dict[str, Outcome] = {
    "AwaitingApproval": "AwaitingApproval",
    "InterruptedStage": "Interrupted",
    "KeyboardInterrupt": "Interrupted",
}
"""The outcomes of errors that are no failures, by class."""


class Recorder:
    """Records one attempt at a stage, from its events.

    Args:
        blank: The record that `begin` made.
        clock: Gives seconds.
    """

    def __init__(self, blank: Run, clock: Callable[[], float] = time.monotonic) -> None:
        self._run, self._clock, self._began = blank, clock, clock()
        self._earlier: Run | None = None
        self._phases = _Phases(self._began)
        self._metrics: list[Metric] = []

    def continues(self, earlier: Run) -> None:
        """Continue the record of an earlier attempt at the same job with the same inputs."""
        self._earlier = earlier

    def receive(self, event: Event) -> None:
        """Take in one event of the stage."""
        self._phases.receive(event, self._clock())
        match event:
            case Started():
                self._set(inputs_digest=event.fingerprint, inputs=event.inputs)
            case Metric() | Rates():
                self._measured(event)
            case PrivacyReport():
                self._set(privacy=event)
            case Egress():
                self._set(egress=EgressReport.model_validate(event.report))
            case Artifact():
                self._set(artifact=event)
            case Failed():
                self._end(_OUTCOMES.get(event.reason, "Failed"), error=event)
            case Done():
                self._end("Complete", peak_memory_bytes=event.peak_memory_bytes)

    @property
    def run(self) -> Run:
        """The record so far."""
        own = self._run.model_copy(
            update={
                "duration": self._clock() - self._began,
                "seconds": dict(self._phases.seconds),
                "curves": {phase: curve.points for phase, curve in self._phases.curves.items()},
                "metrics": latest(self._metrics),
            }
        )
        return own if self._earlier is None else merged(self._earlier, own)

    def _measured(self, event: Metric | Rates) -> None:
        if isinstance(event, Rates):
            self._set(rates={**self._run.rates, event.setting: event.points})
        else:
            self._metrics.append(event)

    def _set(self, **fields: object) -> None:
        self._run = self._run.model_copy(update=fields)

    def _end(self, outcome: Outcome, **fields: object) -> None:
        self._set(outcome=outcome, ended=now(), **fields)


class _Phases:
    """Seconds and curves of phases, which may alternate, such as training and validation."""

    def __init__(self, began: float) -> None:
        self.seconds: dict[str, float] = {}
        self.curves: dict[str, _Curve] = {}
        self._phase: str | None = None
        self._last = self._last_of_phase = began

    def receive(self, event: Event, at: float) -> None:
        """Take in an event. What another event than progress took is part of no phase."""
        if isinstance(event, Progress) and event.phase is not None:
            self._advance(event.phase, event, at)
        self._last = at

    def _advance(self, phase: str, event: Progress, at: float) -> None:
        since = self._last_of_phase if phase == self._phase else self._last
        self.seconds[phase] = self.seconds.get(phase, 0.0) + at - since
        self._phase, self._last_of_phase = phase, at
        if event.step is not None and event.loss is not None:
            self.curves.setdefault(phase, _Curve()).add((event.step, event.loss))


class _Curve:
    """At most `MOST_POINTS` points of a curve, at even distances, and the last one."""

    def __init__(self) -> None:
        self._kept: list[Point] = []
        self._last: Point | None = None
        self._stride, self._seen = 1, 0

    def add(self, point: Point) -> None:
        if self._seen % self._stride == 0:
            self._kept.append(point)
        if len(self._kept) == MOST_POINTS:
            self._kept, self._stride = self._kept[::2], 2 * self._stride
        self._last, self._seen = point, self._seen + 1

    @property
    def points(self) -> tuple[Point, ...]:
        last = () if self._last is None or self._last in self._kept[-1:] else (self._last,)
        return (*self._kept, *last)
