"""`offsite plan` as a user runs it."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from offsite.errors import InputError
from offsite.families import family_named
from offsite_cli.app import app
from offsite_testing.parties import HEAD
from offsite_testing.tiny import sent_config

_TUNE = {
    "bundle": "emulator",
    "data": {"train": "private.jsonl", "validation": "private.jsonl"},
    "training": {"batchSize": 8, "blockSize": 32},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the config of a model, private data, and a job."""
    (tmp_path / "config.json").write_text(json.dumps(sent_config(family_named("LlamaForCausalLM"))))
    (tmp_path / "private.jsonl").write_text('{"text": "a quick brown fox"}\n' * 80)
    write(tmp_path, {"stage": "Tune", "tune": _TUNE})
    return tmp_path


def write(folder: Path, spec: dict[str, Any]) -> None:
    job = {**HEAD, "metadata": {"name": "job"}, "spec": {"peer": "lab", **spec}}
    (folder / "job.yaml").write_text(json.dumps(job))


def ask(folder: Path, *options: str) -> Result:
    command = ["plan", str(folder / "job.yaml"), "--tflops", "0.5", *options]
    return CliRunner().invoke(app, [*command, "--home", str(folder / "home")])


def facts(done: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_job_that_fits_is_planned(folder: Path) -> None:
    done = ask(folder, "--model", str(folder / "config.json"), "--memory", "16Gi", "-o", "json")
    assert done.exit_code == 0, done.output
    found = facts(done)
    assert (found["stage"], found["fits"], found["remedies"]) == ("Tune", True, [])
    assert found["rate"] == {"flopsPerSecond": 5e11, "how": "stated with --tflops"}
    assert found["memoryBytes"] == max(each["memoryBytes"] for each in found["phases"])


def test_what_does_not_fit_comes_first_with_what_makes_it_fit(folder: Path) -> None:
    write(folder, {"stage": "Tune", "tune": _TUNE, "resources": {"memoryPerWorker": "64Mi"}})
    done = ask(folder, "--model", str(folder / "config.json"))
    assert done.exit_code == 2
    first, second = done.stdout.splitlines()[:2]
    assert "does not fit into the 64 MiB of spec.resources.memoryPerWorker" in first
    assert "memory" in second


def test_the_examples_are_counted_or_stated(folder: Path) -> None:
    options = ("--model", str(folder / "config.json"), "--memory", "16Gi", "-o", "json")
    counted, stated = (
        facts(ask(folder, *options)),
        facts(ask(folder, *options, "--examples", "800")),
    )
    (few,) = (p["flops"] for p in counted["phases"] if p["name"] == "tune")
    (many,) = (p["flops"] for p in stated["phases"] if p["name"] == "tune")
    assert many == pytest.approx(10 * few)


def test_an_emulator_that_is_not_here_is_asked_for(folder: Path) -> None:
    done = ask(folder, "--memory", "16Gi")
    assert isinstance(done.exception, InputError)
    assert "--model" in str(done.exception)


def test_a_distillation_reads_the_model_of_the_job(folder: Path) -> None:
    emulator = {"blocks": 2, "calibration": "private.jsonl"}
    write(folder, {"stage": "Distill", "distill": {"model": ".", "emulator": emulator}})
    found = facts(ask(folder, "--memory", "16Gi", "-o", "json"))
    assert [each["name"] for each in found["phases"]] == ["heal", "score"]


def test_a_model_elsewhere_is_asked_for(folder: Path) -> None:
    section = {"model": "s3://lab/model", "adapter": "adapter"}
    write(folder, {"stage": "PlugIn", "plugIn": section})
    done = ask(folder, "--memory", "16Gi")
    assert isinstance(done.exception, InputError)
    assert "s3://lab/model is not on this machine" in str(done.exception)
