"""Reads the data sets of a stage, and evaluates models on them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from offsite.errors import DataError, ModelError
from offsite.events import Monitor
from offsite.layers import Loaded
from offsite.modality import Benchmark
from offsite.rows import DataFile
from offsite.steps.inputs import Inputs
from offsite.steps.places import data_digest
from offsite.training.evaluate import examined


def read_examples(
    data: DataFile, loaded: Loaded, length: int, monitor: Monitor, least: int = 1
) -> tuple[Any, ...]:
    """Read a data set as examples of the model's modality; logs how many had to be cut.

    Args:
        length, least: as `Modality.encode`.
    """
    rows = loaded.modality.read(data)
    with _named(data):
        found = loaded.modality.encode(rows, length, least)
    _log_cut(found.cut, len(rows), data, monitor)
    return found.examples


def read_units(
    data: DataFile, loaded: Loaded, length: int, monitor: Monitor
) -> tuple[tuple[Any, ...], ...]:
    """Read a data set as units of differential privacy; returns the examples of each.

    A unit is a row or, in a file with groups, all rows of a group. A long unit has several
    examples. No example holds data of two units.

    Args:
        length: As `Modality.encode`.
    """
    rows = loaded.modality.read(data)
    units: dict[str, list[Any]] = {}
    for number, row in enumerate(rows):
        units.setdefault(row.group or f"row {number}", []).append(row)
    with _named(data):
        found = [loaded.modality.encode(unit, length) for unit in units.values()]
    _log_cut(sum(unit.cut for unit in found), len(rows), data, monitor)
    return tuple(unit.examples for unit in found)


@contextmanager
def _named(data: DataFile) -> Iterator[None]:
    """Name the data set in the error when the `with` block cannot encode it."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{data.name}: {error}") from error
    except ModelError as error:
        raise ModelError(f"{data.name}: {error}") from error


def _log_cut(cut: int, rows: int, data: DataFile, monitor: Monitor) -> None:
    if cut:
        monitor.log(
            f"{cut} of {rows} examples of {data.name} are longer than blockSize or the context; "
            "cut to fit"
        )


@dataclass(frozen=True)
class Reported:
    """What was reported of one model, and what the next one is compared with."""

    setting: str
    metric: str
    """The metric that counts."""
    value: float | None
    """None: it is not finite."""
    outcomes: Tensor
    """Of each example, as `Benchmark.scores` gets them."""
    interval: tuple[float, float] | None = None
    """The 95 % confidence interval of the value."""


@dataclass(frozen=True)
class Evaluation:
    """A data set to score models on. It is read before any work: what is wrong then costs none."""

    bench: Benchmark
    digest: str
    """By which two parties know that they scored the same data."""

    @classmethod
    def read(cls, data: DataFile, loaded: Loaded, monitor: Monitor) -> "Evaluation":
        """Read and encode a data set; logs how many examples had to be cut."""
        rows = loaded.modality.read(data)
        with _named(data):
            bench = loaded.modality.benchmark(rows)
        _log_cut(bench.cut, len(rows), data, monitor)
        return cls(bench, data_digest(data))

    def report(
        self, loaded: Loaded, setting: str, monitor: Monitor, over: Reported | None = None
    ) -> Reported | None:
        """Score a model, and report its metrics.

        Args:
            over: A model that was scored before; the gain over it is reported, too.

        Returns:
            None if the model cannot be scored, and the log says why.
        """
        if self.bench.unscored:
            monitor.log(f"{setting} is not scored: {self.bench.unscored}")
            return None
        outcomes = examined(loaded, self.bench, monitor, phase=f"evaluate {setting}")
        first, *others = self.bench.scores(outcomes)
        gain = self._gain(over, outcomes)
        value = monitor.metric(
            first.metric, setting, first.value, self.digest, first.interval, **gain
        )
        for each in others:
            monitor.metric(each.metric, setting, each.value, self.digest, each.interval)
        return Reported(setting, first.metric, value, outcomes, first.interval)

    def _gain(self, over: Reported | None, outcomes: Tensor) -> dict[str, Any]:
        if over is None:
            return {}
        gain = self.bench.compare(over.outcomes, outcomes)
        return {"over": over.setting, "gain": gain.value, "gain_interval": gain.interval}


@dataclass(frozen=True)
class Evaluations:
    """All that the models of a stage are scored on: a data set, and tasks of lm-eval."""

    data: Evaluation | None
    tasks: tuple[Evaluation, ...]

    @classmethod
    def read(cls, inputs: Inputs, loaded: Loaded, monitor: Monitor) -> "Evaluations":
        """Read and encode what a job's models are scored on."""
        data = inputs.texts.get("evaluate")
        sources = inputs.tasks.read() if inputs.tasks else ()
        benches = loaded.modality.tasks(sources) if sources else ()
        tasks = []
        for source, bench in zip(sources, benches, strict=True):
            if bench.cut:
                monitor.log(f"{bench.cut} prompts of {source.name} are too long; cut on their left")
            tasks.append(Evaluation(bench, source.digest))
        return cls(Evaluation.read(data, loaded, monitor) if data else None, tuple(tasks))

    def report(
        self, loaded: Loaded, setting: str, monitor: Monitor, over: "Reports | None" = None
    ) -> "Reports":
        """Score a model on all of them, and report its metrics, with the gain over another."""
        data = None
        if self.data:
            data = self.data.report(loaded, setting, monitor, over.data if over else None)
        before = over.tasks if over else (None,) * len(self.tasks)
        pairs = zip(self.tasks, before, strict=True)
        return Reports(data, tuple(e.report(loaded, setting, monitor, b) for e, b in pairs))


@dataclass(frozen=True)
class Reports:
    """What was reported of one model on the evaluations of a stage, in their order."""

    data: Reported | None
    """None: there is no data set, or the model cannot be scored on it."""
    tasks: tuple[Reported | None, ...]
