"""Compares runs: what they were asked to do, what was measured, and what it cost."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from offsite.events import Metric
from offsite.runs import Run
from offsite.runs.flat import flat
from offsite_cli.cluster.job_status import format_duration
from offsite_cli.runs.page import format_size, format_value
from offsite_cli.tables import align

K = TypeVar("K")
V = TypeVar("V")
_NONE = "-"


def compared(runs: Sequence[Run]) -> dict[str, Any]:
    """Compare runs, as JSON. Each list has one element for each run, in order."""
    return {
        "runs": [run.id for run in runs],
        "settings": _differences(runs),
        "metrics": [
            {
                "setting": setting,
                "name": name,
                "sameData": _same_data(values),
                "values": [value and _value(value) for value in values],
            }
            for (setting, name), values in _figures(runs).items()
        ],
        "seconds": _columns(run.seconds for run in runs),
        "duration": [run.duration for run in runs],
        "sizeBytes": [_size(run) for run in runs],
        "peakMemoryBytes": [run.peak_memory_bytes for run in runs],
    }


def comparison_lines(runs: Sequence[Run]) -> list[str]:
    """Compare runs in a table with a column for each run."""
    rows = [
        ["RUN", *(run.id for run in runs)],
        *([name, *_cells(values, str)] for name, values in _differences(runs).items()),
        *(_figure_row(*each) for each in _figures(runs).items()),
        *(
            [f"seconds of {phase}", *_cells(values, lambda each: f"{each:.1f}")]
            for phase, values in _columns(run.seconds for run in runs).items()
        ),
        ["took", *(format_duration(run.duration) for run in runs)],
        ["size", *_cells(map(_size, runs), format_size)],
        ["memory", *_cells((run.peak_memory_bytes for run in runs), format_size)],
    ]
    return align(rows)


def _differences(runs: Sequence[Run]) -> dict[str, list[str | None]]:
    """List the settings, inputs and versions that are not the same in all runs."""
    found = _columns(_settings(run) for run in runs)
    return {name: values for name, values in found.items() if len(set(values)) > 1}


def _settings(run: Run) -> dict[str, str]:
    inputs = {f"input {name}": digest for name, digest in run.inputs.items()}
    versions = {f"version of {name}": each for name, each in run.versions.items()}
    parties = {"job": run.job, "party": run.party, "peer": run.peer, "outcome": run.outcome}
    return {**parties, **flat(run.spec), **inputs, **versions}


def _figures(runs: Sequence[Run]) -> dict[tuple[str, str], list[Metric | None]]:
    return _columns({(each.setting, each.name): each for each in run.metrics} for run in runs)


def _same_data(values: Iterable[Metric | None]) -> bool:
    """Whether figures are comparable: they are of the same data, or of none."""
    return len({each.text for each in values if each is not None}) == 1


def _value(metric: Metric) -> dict[str, Any]:
    kept = {"setting", "name", "event"}
    return {key: each for key, each in metric.wire().items() if key not in kept}


def _figure_row(key: tuple[str, str], values: Sequence[Metric | None]) -> list[str]:
    setting, name = key
    differs = "" if _same_data(values) else " (different data)"
    return [f"{setting}: {name}{differs}", *_cells(values, format_value)]


def _size(run: Run) -> int | None:
    return None if run.artifact is None else run.artifact.size_bytes


def _cells(values: Iterable[V | None], form: Callable[[V], str]) -> list[str]:
    return [_NONE if each is None else form(each) for each in values]


def _columns(rows: Iterable[Mapping[K, V]]) -> dict[K, list[V | None]]:
    """Turn a mapping for each run into a list of all runs' values for each key."""
    listed = list(rows)
    keys = {key: None for row in listed for key in row}
    return {key: [row.get(key) for row in listed] for key in keys}
