"""`offsite runs`: list, show and compare what was recorded."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from offsite.config import parse_job
from offsite.errors import InputError
from offsite.events import Artifact, Done, Event, Failed, Metric, Progress, Started
from offsite.runs import Recorder, Runs, begin
from offsite_cli.app import app
from offsite_testing.foreign import HOSTILE, assert_harmless
from offsite_testing.parties import ADAPTER, HEAD, HOSPITAL, LAB, tune

DIGEST = f"sha256:{'0' * 64}"


def keep(home: Path, name: str, steps: int, *events: Event) -> None:
    job = parse_job({**HEAD, "metadata": {"name": ADAPTER}, "spec": tune(steps)}, source="job")
    blank = begin(job, name, party=HOSPITAL, peer=LAB, fingerprints={LAB: "cccc-dddd"})
    recorder = Recorder(blank)
    for event in events:
        recorder.receive(event)
    Runs(home).keep(recorder.run)


def perplexity(value: float, text: str = DIGEST) -> Metric:
    interval = (value - 0.5, value + 0.5)
    return Metric(
        name="perplexity",
        setting="emulator_tuned",
        value=value,
        text=text,
        interval=interval,
        over="emulator_zero_shot",
        gain=0.25,
        gain_interval=(0.125, 0.5),
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with two runs of one job that ended, and one that failed."""
    inputs = {"train": DIGEST, "bundle": DIGEST}
    artifact = Artifact(name=ADAPTER, digest=DIGEST, uri="file:///x", size_bytes=2_500_000)
    for name, steps, value in (("adapter-1", 6, 9.0), ("adapter-2", 12, 8.25)):
        events = (
            Started(fingerprint=name, inputs=inputs),
            Progress(phase="tune", step=1, loss=3.0),
            Progress(phase="tune", step=steps, loss=2.0),
            perplexity(value),
            artifact,
            Done(peak_memory_bytes=10**9),
        )
        keep(tmp_path, name, steps, *events)
    keep(
        tmp_path,
        "adapter-3",
        6,
        perplexity(1.0, "other"),
        Failed(reason="DataError", message=HOSTILE),
    )
    return tmp_path


def run(*arguments: str, home: Path) -> str:
    done = CliRunner().invoke(app, ["runs", *arguments, "--home", str(home)])
    if done.exception:
        raise done.exception
    return done.stdout


def as_json(*arguments: str, home: Path) -> Any:
    return json.loads(run(*arguments, "--output", "json", home=home))


def test_list_shows_outcomes(home: Path) -> None:
    lines = run("list", home=home).splitlines()
    assert lines[0].split() == ["RUN", "STAGE", "PEER", "STARTED", "TOOK", "OUTCOME"]
    assert [(line.split()[0], line.split()[-1]) for line in lines[1:]] == [
        ("adapter-1", "Complete"),
        ("adapter-2", "Complete"),
        ("adapter-3", "Failed"),
    ]
    listed = as_json("list", home=home)
    assert [each["outcome"] for each in listed] == ["Complete", "Complete", "Failed"]
    assert listed[2]["error"]["reason"] == "DataError"
    assert as_json("list", "--job", "other", home=home) == []
    assert as_json("list", "--stage", "Distill", home=home) == []
    assert len(as_json("list", "--stage", "Tune", "--job", ADAPTER, home=home)) == 3


def test_page_shows_figures_times_and_inputs(home: Path) -> None:
    shown = run("show", "adapter-1", home=home)
    gain = "gain 0.25 (0.125 to 0.5) over emulator_zero_shot"
    for text in (gain, "9 (8.5 to 9.5)", "loss 3 to 2", DIGEST, "cccc-dddd", "2.5 MB", "1000.0 MB"):
        assert text in shown
    assert as_json("show", "adapter-1", home=home)["curves"] == {"tune": [[1, 3.0], [6, 2.0]]}


def test_page_of_a_failed_run_says_why_and_is_escaped(home: Path) -> None:
    shown = run("show", ADAPTER, home=home)  # its newest run
    assert "DataError" in shown
    assert_harmless(shown)
    assert_harmless(run("show", ADAPTER, "--output", "json", home=home))


def test_comparison_shows_what_differs(home: Path) -> None:
    lines = run("compare", "adapter-1", "adapter-2", home=home).splitlines()
    rows = {line.split("   ")[0]: line for line in lines}
    assert lines[0].split() == ["RUN", "adapter-1", "adapter-2"]
    assert rows["tune.training.steps"].split()[1:] == ["6", "12"]
    assert "8.25 (7.75 to 8.75)" in rows["emulator_tuned: perplexity"]
    assert not [name for name in rows if name.startswith(("input", "tune.data"))]
    found = as_json("compare", "adapter-1", "adapter-2", home=home)
    assert found["settings"] == {"tune.training.steps": ["6", "12"]}
    (metric,) = found["metrics"]
    assert [each["value"] for each in metric["values"]] == [9.0, 8.25]
    assert found["sizeBytes"] == [2_500_000, 2_500_000]


def test_figures_of_different_data_are_marked(home: Path) -> None:
    shown = run("compare", "adapter-1", "adapter-3", home=home)
    assert "emulator_tuned: perplexity (different data)" in shown
    assert not as_json("compare", "adapter-1", "adapter-3", home=home)["metrics"][0]["sameData"]


@pytest.mark.parametrize(
    "arguments", [["show", "none"], ["compare", "adapter-1"], ["compare", "adapter-1", "none"]]
)
def test_unknown_runs_are_errors(home: Path, arguments: list[str]) -> None:
    with pytest.raises(InputError, match="offsite runs list"):
        run(*arguments, home=home)
