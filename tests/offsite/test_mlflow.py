"""Runs in MLflow: what a real tracking server has of them, and what it must not have."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import urllib3

from offsite.config import parse_job
from offsite.errors import DataError, InterruptedStage
from offsite.events import (
    Artifact,
    Done,
    Event,
    Log,
    Metric,
    Monitor,
    PrivacyReport,
    Progress,
    Started,
    failure,
)
from offsite.runs import Recorder, Run, Runs, begin, new_id, recorded
from offsite.runs.to_mlflow import MLFLOW_URI, curves, figures, settings, tags
from offsite.runs.tracking import track
from offsite_testing.minio_server import free_port
from offsite_testing.mlflow_server import running_mlflow
from offsite_testing.parties import ADAPTER, HEAD, HOSPITAL, LAB, distill, plug_in, tune

# the server imports for long on a busy machine
pytestmark = pytest.mark.timeout(600)

DIGEST = f"sha256:{'0' * 64}"
SECRET = "Jane Doe, born 1970"
SPEC = tune(
    data={"train": f"{SECRET}.jsonl", "validation": f"{SECRET}.jsonl"},
    adapter={"head": {"labels": [f"ward of {SECRET}", "other"]}},
)
MEASURED: tuple[Event, ...] = (
    Started(fingerprint="f" * 64, inputs={"train": DIGEST, "bundle": DIGEST}),
    *(Progress(phase="audit tuned: x", step=step, loss=1 / step) for step in range(1, 4)),
    Metric(
        name="perplexity",
        setting="emulator_tuned",
        value=6.5,
        interval=(6.25, 6.75),
        over="emulator_zero_shot",
        gain=0.5,
        gain_interval=(0.25, 0.75),
    ),
    Metric(name="perplexity", setting="emulator_zero_shot", value=None),
    PrivacyReport(
        epsilon=8.0, delta=1e-5, unit="row", sampling_rate=0.1, steps=3, noise_multiplier=1.0
    ),
    Artifact(name=ADAPTER, digest=DIGEST, uri=f"file:///{SECRET}", size_bytes=7),
)


def blank(spec: dict[str, Any] = SPEC) -> Run:
    job = parse_job({**HEAD, "metadata": {"name": ADAPTER}, "spec": spec}, source="job")
    return begin(job, new_id(ADAPTER), party=HOSPITAL, peer=LAB, fingerprints={})


def ended(*events: Event) -> Run:
    recorder = Recorder(blank())
    for event in (*MEASURED, *events):
        recorder.receive(event)
    return recorder.run


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_mlflow(tmp_path_factory.mktemp("mlflow")) as uri:
        yield uri


def ask(server: str, path: str, **fields: str) -> Any:
    """Ask the server's REST API, which is what any other client sees."""
    answer = urllib3.request("GET", f"{server}/api/2.0/mlflow/{path}", fields=fields)
    assert answer.status == 200, answer.data
    return answer.json()


def runs_of(server: str, experiment: str) -> list[Any]:
    place = ask(server, "experiments/get-by-name", experiment_name=experiment)["experiment"]
    wanted = {"experiment_ids": [place["experiment_id"]]}
    answer = urllib3.request("POST", f"{server}/api/2.0/mlflow/runs/search", json=wanted)
    listed: list[Any] = answer.json()["runs"]
    return listed


def pairs(listed: list[dict[str, Any]]) -> dict[str, Any]:
    return {each["key"]: each["value"] for each in listed}


def attempt(home: Path, record: Run, monitor: Monitor, environ: dict[str, str]) -> None:
    """Record an attempt that fails, and then one that does not."""
    for error in (DataError(f"line 3 is wrong: {SECRET}"), None):
        with suppress(DataError), recorded(Runs(home), record, monitor, environ) as watched:
            for event in MEASURED:
                watched.emit(event)
            if error is not None:
                raise error
            watched.emit(Done(peak_memory_bytes=5))


def test_server_gets_settings_figures_and_curves_and_no_text(tmp_path: Path, server: str) -> None:
    told: list[Event] = []
    record = blank()
    attempt(tmp_path, record, Monitor(told.append), {**os.environ, MLFLOW_URI: server})
    assert not [event for event in told if isinstance(event, Log)]
    assert isinstance(told[-1], Done)
    (logged,) = runs_of(server, "offsite")  # the second attempt continued the first
    assert SECRET not in str(logged)
    info, data = logged["info"], logged["data"]
    assert (info["run_name"], info["status"]) == (record.id, "FINISHED")
    known, values = pairs(data["tags"]), pairs(data["metrics"])
    assert (known["offsite.stage"], known["offsite.outcome"]) == ("Tune", "Complete")
    assert (known["offsite.attempts"], known["offsite.input.train"]) == ("2", DIGEST)
    assert pairs(data["params"])["tune.training.steps"] == "6"
    assert values["emulator_tuned.perplexity"] == 6.5
    assert values["emulator_tuned.perplexity.gain.low"] == 0.25
    assert (values["privacy.epsilon"], values["peak_memory_bytes"]) == (8.0, 5.0)
    key = "loss.audit tuned_ x"
    history = ask(server, "metrics/get-history", run_id=info["run_id"], metric_key=key)
    points = [(each.get("step", 0), each["value"]) for each in history["metrics"]]
    assert points == [(1, 1.0), (2, 1 / 2), (3, 1 / 3)]


def test_server_that_does_not_answer_fails_nothing(tmp_path: Path) -> None:
    told: list[Event] = []
    uri = f"http://me:hunter2@127.0.0.1:{free_port()}"
    environ = {**os.environ, MLFLOW_URI: uri, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    with recorded(Runs(tmp_path), blank(), Monitor(told.append), environ) as monitor:
        monitor.emit(Done())
    complaint, last = told
    assert isinstance(complaint, Log)
    assert "did not take the run" in complaint.message
    assert "hunter2" not in complaint.message
    assert isinstance(last, Done)


def test_interrupted_runs_are_not_logged() -> None:
    environ = {MLFLOW_URI: "http://127.0.0.1:1"}
    for run in (ended(), ended(failure(InterruptedStage("stopped")))):
        track(run, environ, pytest.fail)


@pytest.mark.parametrize("spec", [SPEC, distill(), plug_in()], ids=["tune", "distill", "plug-in"])
def test_no_path_is_a_parameter(spec: dict[str, Any]) -> None:
    found = settings(blank(spec))
    assert found["seed"] == "0"
    files = (SECRET, "model", "corpus.txt", "shared.jsonl")
    assert not [value for value in found.values() if value.startswith(files)]


def test_names_are_those_that_mlflow_takes() -> None:
    run = ended(Done(peak_memory_bytes=5))
    for name, _, _ in (*figures(run), *curves(run)):
        assert all(each.isalnum() or each in "_./ -" for each in name)
    assert SECRET not in str(tags(run))
