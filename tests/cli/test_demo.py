"""The demo as a user runs it: the whole story, on a tiny model and on data of the user's own."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from offsite.bundle.disclosure import Disclosed, check_alone
from offsite.config import load_job, load_policy
from offsite.events import Metric, PrivacyReport
from offsite.steps.party import POLICY
from offsite.store.admin import ExchangeAdmin
from offsite.store.credentials import read_credentials, write_credentials
from offsite_cli.demo.parties import Parties
from offsite_cli.demo.report import OF_IMAGES, OF_TEXT, Continuation, Result, show
from offsite_cli.demo.settings import Choices, Recipe
from offsite_cli.demo.stage_process import Outcome
from offsite_testing.images import image_folder, tinted_folder
from offsite_testing.minio_server import running_minio
from offsite_testing.models import save_tiny

SETTINGS = {
    "full_zero_shot",
    "emulator_zero_shot",
    "emulator_tuned",
    "plug_in",
    "full_fine_tuned",
}


STAGES = {"distill", "tune", "plug-in"}


def demo(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `offsite demo` in `folder`."""
    command = [sys.executable, "-m", "offsite_cli", "demo", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def labelled(path: Path) -> None:
    """Write questions whose answer is their last word."""
    rows: list[dict[str, Any]] = [
        {
            "prompt": f"case {sha256(bytes([i])).hexdigest()[:16]} is {word}\nkind:",
            "completion": word,
            "choices": ["calm", "wild"],
        }
        for i in range(40)
        for word in ("calm", "wild")
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.mark.timeout(900)  # five processes, four of which import torch
def test_the_story_on_a_task_of_ones_own(tmp_path: Path) -> None:
    save_tiny(tmp_path / "model", "llama", num_hidden_layers=12, max_position_embeddings=128)
    labelled(tmp_path / "task.jsonl")
    options = ("--model", "model", "--task", "task.jsonl", "--upper-bound", "-o", "json")
    ran = demo(tmp_path, *options)
    assert ran.returncode == 0, ran.stderr
    events = [json.loads(line) for line in ran.stdout.splitlines()]
    result = events[-1]
    assert result["event"] == "result"
    assert result["metric"] == "accuracy"
    assert result["privacy"] is None
    assert set(result["settings"]) == SETTINGS
    assert all(0 <= value <= 1 for value in result["settings"].values())
    assert result["sizeBytes"]["adapter"] < result["sizeBytes"]["emulator"]
    assert result["sizeBytes"]["emulator"] < result["sizeBytes"]["model"]
    assert set(result["seconds"]) == set(result["peakMemoryBytes"]) == STAGES
    share, interval = result["gainRecovered"], result["gainInterval"]
    assert (share is None) or (interval is None) or interval[0] <= share <= interval[1]
    # each party's folder has what is its own, and nothing of the other's
    output = tmp_path / "demo-output"
    report = Path(result["report"]).read_text(encoding="utf-8")
    assert Path(result["report"]) == output / "report.html"
    assert "What lab and hospital gained, and what they gave away" in report
    assert report.count("Its digest is that of") == 3
    assert all(title in report for title in OF_TEXT.values())
    assert not list((output / "hospital").rglob("model*.safetensors"))
    assert not list((output / "lab").rglob("train.jsonl"))
    assert not list(output.rglob("full.safetensors"))


@pytest.mark.timeout(900)  # seven processes, six of which import torch
def test_the_story_with_images_of_ones_own(tmp_path: Path) -> None:
    save_tiny(tmp_path / "model", "dinov2", num_hidden_layers=9, id2label={})
    tinted_folder(tmp_path / "images", each=20)
    options = ("--vision", "--model", "model", "--data", "images", "--upper-bound", "-o", "json")
    ran = demo(tmp_path, *options)
    assert ran.returncode == 0, ran.stderr
    result = json.loads(ran.stdout.splitlines()[-1])
    assert (result["event"], result["metric"]) == ("result", "accuracy")
    assert set(result["settings"]) == SETTINGS - {"full_zero_shot"} | {"full_probe"}
    assert all(0 <= value <= 1 for value in result["settings"].values())
    assert result["settings"]["plug_in"] > 0.5
    assert result["continuation"] is None
    output = tmp_path / "demo-output"
    plugged = json.loads((output / "lab/plugged-in/config.json").read_bytes())
    assert plugged["id2label"] == {"0": "blue", "1": "green", "2": "red"}
    assert not list((output / "hospital").rglob("model*.safetensors"))
    assert not list((output / "lab").glob("train"))


@pytest.mark.parametrize("task", ["tissue", "digits"])
def test_what_the_vision_demo_keeps_its_lab_allows(tmp_path: Path, task: str) -> None:
    recipe = Recipe.of(Choices(task=task, vision=True))
    (tmp_path / "model").mkdir()
    model = {"model_type": "dinov2", "num_hidden_layers": 12}
    (tmp_path / "model/config.json").write_text(json.dumps(model))
    parties = Parties(tmp_path / "demo")
    parties.create()
    parties.write_jobs(tmp_path / "model", recipe)
    assert recipe.policy(tmp_path / "model") == {"maxKeptBlocks": 0.8, "maxEndBlocks": 0.5}
    job = load_job(parties.hospital / "tune.yaml").spec.tune
    assert job is not None
    assert job.data.train == "train/"
    assert job.training.augmentation == "None"


def test_the_first_metric_of_a_setting_counts() -> None:
    stage = Outcome()
    for name, value in (("accuracy", 0.8), ("accuracy_top5", 1.0)):
        stage.record(Metric(name=name, setting="emulator_tuned", value=value))
    assert stage.figures == {"emulator_tuned": 0.8}


@pytest.mark.parametrize(
    "choices",
    [Choices(), Choices(task="icd-chapters"), Choices(epsilon=8.0), Choices(vision=True)],
    ids=["text", "task", "private", "vision"],
)
def test_a_rehearsal_of_the_demo_has_the_sections_of_its_jobs(
    tmp_path: Path, choices: Choices
) -> None:
    (tmp_path / "model").mkdir()
    model = {"model_type": "dinov2" if choices.vision else "llama", "num_hidden_layers": 30}
    (tmp_path / "model/config.json").write_text(json.dumps(model))
    parties, recipe = Parties(tmp_path / "demo", seed=3), Recipe.of(choices)
    parties.create()
    parties.write_jobs(tmp_path / "model", recipe)
    setting = recipe.setting(tmp_path / "model", parties.seed)
    distill, tune, plug_in = (
        load_job(path).spec
        for path in (
            parties.lab / "distill.yaml",
            parties.hospital / "tune.yaml",
            parties.lab / "plug-in.yaml",
        )
    )
    assert distill.distill is not None
    assert tune.tune is not None
    assert plug_in.plug_in is not None
    emulator = distill.distill.emulator.model_copy(update={"calibration": None})
    training = distill.distill.training
    training = training and training.model_copy(update={"corpus": "data.jsonl"})
    ours = setting.distill
    assert (ours.ends, ours.emulator) == (distill.distill.ends, emulator)
    assert (ours.training, setting.emulator_seed) == (training, distill.seed)
    assert (setting.adapter, setting.tuning) == (tune.tune.adapter, tune.tune.training)
    assert (setting.privacy, setting.alpha) == (tune.tune.privacy, plug_in.plug_in.alpha)


def test_the_report_of_images_says_that_no_party_can_probe_the_full_model() -> None:
    stages = {name: Outcome() for name in STAGES}
    settings: dict[str, float | None] = dict.fromkeys(OF_IMAGES, 0.5)
    result = Result("accuracy", {**settings, "plug_in": 0.9}, stages, 1, None)
    screen = Console(record=True, file=StringIO(), width=200)
    show(result, screen)
    shown = screen.export_text()
    assert "full model, untouched, with a linear probe" in shown
    assert "cannot measure the full model and the plug-in on it, or fit a linear probe" in shown
    assert "Prompt" not in shown


@pytest.mark.timeout(900)  # the first run builds the server
def test_the_story_over_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_tiny(tmp_path / "model", "llama", num_hidden_layers=12, max_position_embeddings=128)
    labelled(tmp_path / "task.jsonl")
    accounts, options = tmp_path / "accounts", ["--model", "model", "--task", "task.jsonl"]
    options += ["--exchange", "s3://exchange", "--credentials", "accounts"]
    with running_minio(tmp_path / "minio") as server:
        monkeypatch.setenv("OFFSITE_EXCHANGE_ENDPOINT", server.endpoint)
        admin = ExchangeAdmin(server.store("exchange"))
        admin.prepare()
        for party, peer in (("lab", "hospital"), ("hospital", "lab")):
            admin.grant(party, peer, accounts)
        ran = demo(tmp_path, *options)
        assert ran.returncode == 0, ran.stderr
        there = admin.store.sizes("")
        assert {key.split("/")[0] for key in there} == {"lab", "hospital"}
        assert not (tmp_path / "demo-output/exchange").exists()
        keys = read_credentials(accounts / "lab.json")
        write_credentials(accounts / "lab.json", replace(keys, secret_key="wrong-secret"))
        refused = demo(tmp_path, *options)
    assert refused.returncode == 4
    assert "distill.yaml: " in refused.stderr
    assert "does not accept these credentials" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_story_needs_a_folder_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "demo-output").mkdir()
    (tmp_path / "demo-output" / "thesis.txt").write_text("years of work", encoding="utf-8")
    refused = demo(tmp_path)
    assert refused.returncode == 2
    assert "not empty" in refused.stderr
    assert (tmp_path / "demo-output" / "thesis.txt").exists()


@pytest.mark.parametrize("task", [None, "icd-chapters"])
def test_what_the_demo_keeps_of_its_model_its_lab_allows(tmp_path: Path, task: str | None) -> None:
    model = {"model_type": "llama", "num_hidden_layers": 30}
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text(json.dumps(model))
    parties, recipe = Parties(tmp_path / "demo"), Recipe.of(Choices(task=task))
    parties.create()
    parties.write_jobs(tmp_path / "model", recipe)
    kept = frozenset(range(4, 4 + recipe.kept_blocks(tmp_path / "model")))
    ends = frozenset((*range(4), *range(26, 30)))
    limits = load_policy(parties.lab / "home" / POLICY)
    check_alone(limits, 30, Disclosed(ends, kept | ends))


def test_the_hospital_of_a_private_demo_sends_no_other_adapter(tmp_path: Path) -> None:
    parties, recipe = Parties(tmp_path / "demo"), Recipe.of(Choices(epsilon=8.0))
    (tmp_path / "model").mkdir()
    model = {"model_type": "llama", "num_hidden_layers": 30}
    (tmp_path / "model/config.json").write_text(json.dumps(model))
    parties.create()
    parties.write_jobs(tmp_path / "model", recipe)
    limits = load_policy(parties.hospital / "home" / POLICY)
    job = load_job(parties.hospital / "tune.yaml").spec.tune
    assert job is not None
    assert limits.objection(job) is None
    assert limits.objection(job.model_copy(update={"privacy": None})) is not None


def test_the_report_of_a_private_demo_states_the_privacy_of_its_adapter() -> None:
    bound = PrivacyReport(
        epsilon=7.9, delta=8e-05, unit="row", sampling_rate=0.0067, steps=60, noise_multiplier=0.38
    )
    stages = {name: Outcome() for name in STAGES} | {"tune": Outcome(privacy=bound)}
    settings: dict[str, float | None] = dict.fromkeys(SETTINGS, 2.0)
    result = Result("perplexity", settings, stages, 1, Continuation("a", "b", "c"))
    assert result.event()["privacy"] == bound.wire()
    screen = Console(record=True, file=StringIO(), width=200)
    show(result, screen)
    assert "Differential privacy: ε 7.9, δ 8e-05 for each row (" in screen.export_text()


def test_a_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    refused = demo(tmp_path, "--folder", "notes.txt")
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--model", "./missing"), "/missing"),
        (("--model", "~/missing"), "/missing"),
        (("--data", "missing.jsonl"), "missing.jsonl"),
        (("--data", "few.jsonl"), "needs at least 10"),
        (("--task", "few.jsonl"), 'few.jsonl has no column "choices"'),
        (("--data", "demo-output/own.jsonl"), "which the demo empties"),
        (("--vision", "--data", "missing"), "missing"),
        (("--vision", "--data", "two"), "needs at least 40"),
        (("--vision", "--task", "cells"), "has no task 'cells'; choose one of tissue, digits"),
    ],
)
def test_bad_input_leaves_an_earlier_demo_as_it_is(
    tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    (tmp_path / "few.jsonl").write_text('{"text": "one"}\n', encoding="utf-8")
    image_folder(tmp_path / "two", {"cat": 1, "dog": 1})
    earlier = tmp_path / "demo-output"
    earlier.mkdir()
    for name in (".offsite-demo", "result"):
        (earlier / name).touch()
    (earlier / "own.jsonl").write_text('{"text": "one"}\n' * 12, encoding="utf-8")
    refused = demo(tmp_path, *options, "-o", "json")
    assert refused.returncode == 2, refused.stderr
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr
    assert json.loads(refused.stdout.splitlines()[-1])["event"] == "failed"
    assert (earlier / "result").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_the_stage(tmp_path: Path, number: signal.Signals) -> None:
    save_tiny(tmp_path / "model", "llama", num_hidden_layers=12, max_position_embeddings=128)
    labelled(tmp_path / "task.jsonl")
    command = [sys.executable, "-m", "offsite_cli", "demo", "-o", "json"]
    options = ["--model", "model", "--task", "task.jsonl"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*command, *options], cwd=tmp_path, **pipes) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        while json.loads(process.stdout.readline()).get("phase") != "tune":
            pass
        process.send_signal(number)
        events = [json.loads(line) for line in process.stdout]
        complaint = process.stderr.read()
    assert process.returncode == 1
    assert events[-1]["event"] == "failed"
    assert "stopped by a signal" in complaint
    assert "Traceback" not in complaint
    # the stage ended in good order: with a checkpoint, and without a lock
    work = tmp_path / "demo-output/hospital/home/work"
    assert list(work.glob("adapter-*/checkpoint/checkpoint.safetensors"))
    assert not list(work.glob("*.lock"))


def test_data_and_task_exclude_each_other(tmp_path: Path) -> None:
    refused = demo(tmp_path, "--data", "a.jsonl", "--task", "b.jsonl")
    assert refused.returncode == 2
    assert "--data and --task" in refused.stderr
    assert "Traceback" not in refused.stderr
