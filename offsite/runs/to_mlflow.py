"""The process that logs a run to MLflow: `python -m offsite.runs.to_mlflow`, the record on stdin.

MLflow gets settings, figures and digests. It gets no text: no message of an error, which may quote
a line of private data, no names of classes, and no paths.
"""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from offsite.api import JobSpec
from offsite.runs.flat import flat
from offsite.runs.record import Run
from offsite.text import as_json

if TYPE_CHECKING:
    from mlflow import MlflowClient

MLFLOW_URI = "OFFSITE_MLFLOW_URI"
"""Environment variable with the URI of a tracking server, as MLflow's `MLFLOW_TRACKING_URI`."""
_EXPERIMENT = "offsite"
"""The experiment, unless `MLFLOW_EXPERIMENT_NAME` names another one."""
_MOST_METRICS, _MOST_PARAMS = 1000, 100
"""Limits of one request of MLflow's REST API."""
_OTHERS = re.compile(r"[^\w./ -]")
"""Characters that the name of a metric cannot have."""
_SETTINGS = ("seed", "distill", "tune", "plugIn")
T = TypeVar("T")
Value = tuple[str, float, int]
"""A metric's name, its value, and its step."""


def main() -> None:
    """Log the run on stdin to the server that the environment names."""
    from mlflow import MlflowClient

    run = Run.read(sys.stdin.buffer.read())
    log_run(run, MlflowClient(os.environ[MLFLOW_URI]), os.environ)


def log_run(run: Run, client: "MlflowClient", environ: Mapping[str, str]) -> None:
    """Log a run that ended. A run that was logged before, and went on, is updated.

    Raises:
        MlflowException: The server did not take it.
    """
    from mlflow.entities import Metric, Param

    number = _number_of(run, client, environ.get("MLFLOW_EXPERIMENT_NAME", _EXPERIMENT))
    # with the same time a value that is logged twice counts once
    began, ended = _milliseconds(run.started), _milliseconds(run.ended or run.started)
    points = [Metric(name, value, began, step) for name, value, step in curves(run)]
    values = [Metric(name, value, ended, step) for name, value, step in figures(run)]
    for metrics in _batches([*points, *values], _MOST_METRICS):
        client.log_batch(number, metrics=metrics)
    for params in _batches([Param(*each) for each in settings(run).items()], _MOST_PARAMS):
        client.log_batch(number, params=params)
    for name, value in tags(run).items():
        client.set_tag(number, name, value)
    client.set_terminated(number, "FAILED" if run.outcome == "Failed" else "FINISHED", ended)


def settings(run: Run) -> dict[str, str]:
    """List the settings that affect the result, without paths and names of classes."""
    chosen = {name: run.spec[name] for name in _SETTINGS if name in run.spec}
    spec = JobSpec.model_validate_json(as_json(run.spec))
    paths = {each.field for each in spec.references()}
    return {
        name: value
        for name, value in flat(chosen).items()
        if name not in paths and not name.endswith(".labels")
    }


def figures(run: Run) -> Iterator[Value]:
    """List the figures, with the bounds of their intervals, and what the run cost."""
    found: dict[str, float | None] = {"duration": run.duration}
    for each in run.metrics:
        name = f"{each.setting}.{each.name}"
        found[name] = each.value
        found |= _bounds(name, each.interval)
        found[f"{name}.gain"] = each.gain
        found |= _bounds(f"{name}.gain", each.gain_interval)
    found |= {f"seconds.{phase}": seconds for phase, seconds in run.seconds.items()}
    if run.privacy is not None:
        found |= {"privacy.epsilon": run.privacy.epsilon, "privacy.delta": run.privacy.delta}
    found["peak_memory_bytes"] = run.peak_memory_bytes
    found["artifact.size_bytes"] = run.artifact.size_bytes if run.artifact else None
    for name, value in found.items():
        if value is not None:
            yield _OTHERS.sub("_", name), float(value), 0


def curves(run: Run) -> Iterator[Value]:
    """List the points of the loss curves."""
    for phase, points in run.curves.items():
        name = _OTHERS.sub("_", f"loss.{phase}")
        yield from ((name, loss, step) for step, loss in points)


def tags(run: Run) -> dict[str, str]:
    """List who ran what, the digests, and the versions."""
    found = {
        "run": run.id,
        "job": run.job,
        "stage": run.stage,
        "party": run.party,
        "peer": run.peer,
        "attempts": str(run.attempts),
        "outcome": run.outcome,
        "reason": run.error.reason if run.error else "",
        "inputs": run.inputs_digest,
        "artifact": run.artifact.digest if run.artifact else "",
        "egress": run.egress.digest if run.egress else "",
        **{f"input.{name}": digest for name, digest in run.inputs.items()},
        **{f"version.{name}": each for name, each in run.versions.items()},
    }
    return {f"offsite.{name}": value for name, value in found.items() if value}


def _number_of(run: Run, client: "MlflowClient", experiment: str) -> str:
    """Find the MLflow run of a run, or create it."""
    known = client.get_experiment_by_name(experiment)
    place = known.experiment_id if known else client.create_experiment(experiment)
    same = f"tags.`offsite.run` = '{run.id}' and tags.`offsite.party` = '{run.party}'"
    earlier = client.search_runs([place], same, max_results=1)
    if earlier:
        return str(earlier[0].info.run_id)
    created = client.create_run(place, _milliseconds(run.started), tags(run), run.id)
    return str(created.info.run_id)


def _bounds(name: str, interval: tuple[float, float] | None) -> dict[str, float]:
    return {f"{name}.low": interval[0], f"{name}.high": interval[1]} if interval else {}


def _milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def _batches(items: list[T], size: int) -> Iterator[list[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


if __name__ == "__main__":
    main()
