"""`offsite run` in processes of its own: exit codes, events, interruptions, and bad input."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from offsite.runs import Run, Runs
from offsite.steps.party import POLICY
from offsite_testing.command import Command, finish, start
from offsite_testing.models import save_tiny
from offsite_testing.parties import (
    ADAPTER,
    EMULATOR,
    HOSPITAL,
    LAB,
    PLUGGED,
    Parties,
    distill,
    listing,
    new_parties,
    plug_in,
    tune,
)

# long enough to be interrupted
JOBS = {
    EMULATOR: distill(80, evaluate="corpus.txt"),
    ADAPTER: tune(60),
    PLUGGED: plug_in(evaluate="corpus.txt"),
}
TRAINING = {EMULATOR: "distill", ADAPTER: "tune"}
LAST = {
    EMULATOR: "seal and send",
    ADAPTER: "seal and send",
    PLUGGED: "evaluate plug_in",
}
"""The phase after which each stage writes and publishes its result."""

SHOWN = ["full_zero_shot", "largest_change", "median_change", "plug_in", PLUGGED]

EAGER = ("--checkpoint-seconds", "0")
RECORDS = "*/home/runs/*/*.json"
"""Where the records of runs are, of both parties."""


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Parties]:
    """All three jobs run without interruption, and everything as it was before each of them."""
    root = tmp_path_factory.mktemp("reference")
    parties, found = new_parties(root / "all"), {}
    for name, spec in JOBS.items():
        job = parties.write(name, spec)
        shutil.copytree(parties.root, root / f"before-{name}")
        found[name] = Parties(root / f"before-{name}")
        done = finish(start(parties, job))
        assert done.events[-1]["event"] == "done"
        assert "Traceback" not in done.complaint
    return {**found, "all": parties}


def before(reference: dict[str, Parties], name: str, tmp_path: Path) -> tuple[Parties, Path]:
    """Give a copy of everything as it was before a job, and the job's file."""
    shutil.copytree(reference[name].root, tmp_path / "copy")
    parties = Parties(tmp_path / "copy")
    return parties, parties.home(HOSPITAL if name == ADAPTER else LAB) / f"{name}.yaml"


def result(parties: Parties, name: str) -> Path:
    """Name the place of what a job makes."""
    models = parties.home(LAB) / "home/models"
    return models / PLUGGED if name == PLUGGED else parties.published(name)


def is_there(parties: Parties, name: str) -> bool:
    """Whether a job's result is published: no envelope, nothing was sent."""
    place = result(parties, name)
    return place.exists() if name == PLUGGED else any(place.rglob("envelope-*"))


def assert_same_bytes(parties: Parties, reference: dict[str, Parties], name: str) -> None:
    """Check that a job made what it makes without interruption, and left nothing else."""
    assert parties.digest(name) == reference["all"].digest(name)
    left = [path for path in listing(parties.root) if "partial" in path or ".lock" in path]
    # kill -9 may leave a hidden file in the exchange or among the records, which nobody lists, and
    # the lock of a push that had just ended, which the next push of that name takes and deletes
    allowed = re.compile(r"exchange/|\w+/home/runs/|\w+/home/journals/[^/]+\.lock$")
    assert not [path for path in left if not allowed.match(path)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("name", [EMULATOR, ADAPTER])
def test_interrupted_training_goes_on_to_the_same_bytes(
    reference: dict[str, Parties], tmp_path: Path, name: str, number: signal.Signals
) -> None:
    parties, job = before(reference, name, tmp_path)
    first = start(parties, job, *EAGER)
    first.reach(TRAINING[name])
    if number == signal.SIGKILL:
        first.keep(f"{name}-*/checkpoint/checkpoint.safetensors", job.parent / "home/work")
    assert_ended_by(first, number)
    assert not is_there(parties, name)
    kept = record(job)
    assert kept.outcome == ("Unfinished" if number == signal.SIGKILL else "Interrupted")
    again = finish(start(parties, job))
    then = record(job)
    assert (then.id, then.attempts, then.outcome) == (kept.id, 2, "Complete")
    assert again.steps(TRAINING[name])[0] > 1
    assert not again.steps("heal")
    assert_same_bytes(parties, reference, name)


def record(job: Path) -> Run:
    """Read the only record of a job."""
    runs = Runs(job.parent / "home").all(pytest.fail)
    (found,) = [run for run in runs if run.job == job.stem]
    return found


def assert_ended_by(command: Command, number: signal.Signals) -> None:
    """Interrupt a run, and check that it ended in the order that the signal allows."""
    code = command.interrupt(number)
    if number == signal.SIGKILL:
        assert code == -number
        return
    assert code == 1
    last = command.events[-1]
    assert (last["event"], last["reason"], last["retryable"]) == (
        "failed",
        "InterruptedStage",
        True,
    )
    assert "run the same command again" in command.complaint
    assert "Traceback" not in command.complaint


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize(
    ("name", "phase"), [(EMULATOR, "heal"), (PLUGGED, "evaluate full_zero_shot")]
)
def test_what_has_no_checkpoint_begins_anew(
    reference: dict[str, Parties],
    tmp_path: Path,
    name: str,
    phase: str,
    number: signal.Signals,
) -> None:
    parties, job = before(reference, name, tmp_path)
    first = start(parties, job)
    first.reach(phase)
    assert_ended_by(first, number)
    assert not is_there(parties, name)
    finish(start(parties, job))
    assert_same_bytes(parties, reference, name)


@pytest.mark.parametrize("name", [EMULATOR, ADAPTER, PLUGGED])
def test_killed_while_it_publishes(
    reference: dict[str, Parties], tmp_path: Path, name: str
) -> None:
    parties, job = before(reference, name, tmp_path)
    for milliseconds in (0, 8, 16, 24):
        run = start(parties, job)
        run.reach_or_end(LAST[name])
        time.sleep(milliseconds / 1000)
        run.interrupt(signal.SIGKILL)
        if is_there(parties, name):
            # whole, or not there at all
            assert parties.digest(name) == reference["all"].digest(name)
            break
    finish(start(parties, job))
    assert_same_bytes(parties, reference, name)


def test_second_process_on_one_job_is_refused(
    reference: dict[str, Parties], tmp_path: Path
) -> None:
    parties, job = before(reference, ADAPTER, tmp_path)
    first = start(parties, job, *EAGER)
    first.reach("tune")
    os.kill(first.process.pid or 0, signal.SIGSTOP)
    second = start(parties, job)
    assert second.wait() == 1
    assert "another process runs the job adapter" in second.complaint
    assert second.events[-1]["retryable"] is True
    job.write_text(job.read_text().replace('"steps": 60', '"steps": 5'))
    third = start(parties, job)
    assert third.wait() == 1
    assert "another process runs the job adapter" in third.complaint
    os.kill(first.process.pid or 0, signal.SIGCONT)
    finish(first)
    assert_same_bytes(parties, reference, ADAPTER)


def real(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "offsite_cli", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_command_tells_people_what_came_out(reference: dict[str, Parties], tmp_path: Path) -> None:
    parties, job = before(reference, PLUGGED, tmp_path)
    places = ("--home", parties.home(LAB) / "home", "--exchange", parties.exchange.as_uri())
    done = real("run", job, *places)
    assert done.returncode == 0, done.stderr
    shown = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in shown] == SHOWN
    assert "relative_change" in shown[1]
    assert "perplexity" in shown[3]
    assert result(parties, PLUGGED).as_uri() in shown[4]
    assert "Traceback" not in done.stderr
    assert_same_bytes(parties, reference, PLUGGED)


def test_usage_errors_are_2(tmp_path: Path) -> None:
    job = tmp_path / "no-such-job.yaml"
    places = ("--exchange", tmp_path.as_uri())
    for arguments, said in (
        (("run", job), "--exchange"),
        (("run", job, "--exchange", "ftp://bucket"), "no-such-job.yaml"),
        (("run", job, *places, "-o", "xml"), "xml"),
        (("walk",), "walk"),
    ):
        done = real(*arguments)
        assert done.returncode == 2
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    assert real("--version").returncode == 0
    assert listing(tmp_path) == {}


def config_with(**over: Any) -> Callable[[Parties], object]:
    """Change the config of the lab's model."""

    def change(parties: Parties) -> None:
        path = parties.home(LAB) / "model/config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **over}))

    return change


def text_in(name: str, content: str) -> Callable[[Parties], object]:
    """Write a file of the lab or of the hospital."""

    def change(parties: Parties) -> None:
        (parties.root / name).write_text(content)

    return change


def without(name: str) -> Callable[[Parties], object]:
    """Take a file away."""
    return lambda parties: (parties.root / name).unlink()


def other_model(model_type: str, **over: Any) -> Callable[[Parties], object]:
    """Give the lab another model."""

    def change(parties: Parties) -> None:
        shutil.rmtree(parties.home(LAB) / "model")
        save_tiny(parties.home(LAB) / "model", model_type, **over)

    return change


def flip(path: Path) -> None:
    """Change a byte of a file."""
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])


def a_shard(parties: Parties) -> Path:
    """Find a sealed shard of the emulator."""
    return next(p for p in parties.published(EMULATOR).rglob("*") if len(p.name) == 64)


def nothing(parties: Parties) -> None:
    """Leave everything as it is."""


BAD: dict[str, tuple[str, dict[str, Any], Callable[[Parties], object], list[str]]] = {
    "unknown architecture": (
        EMULATOR,
        distill(),
        config_with(model_type="mamba9", architectures=["Mamba9ForCausalLM"]),
        ["does not support the architecture 'mamba9'", "llama", "CONTRIBUTING"],
    ),
    "known to transformers only": (
        EMULATOR,
        distill(),
        config_with(model_type="bert"),
        ["does not support the architecture 'bert'", "CONTRIBUTING"],
    ),
    "too many blocks": (
        EMULATOR,
        distill(emulator={"blocks": 5, "calibration": "corpus.txt"}),
        nothing,
        ["6 blocks", "ends of 1 + 1 leave 4", "emulator.blocks is 5"],
    ),
    "ends beyond the model": (
        EMULATOR,
        distill(ends={"bottom": 9, "top": 9}),
        nothing,
        ["6 blocks", "leave 0", "lower one"],
    ),
    "healing where it cannot be": (
        EMULATOR,
        distill(emulator={"blocks": 2, "heal": True, "calibration": "corpus.txt"}),
        other_model("gemma2"),
        ["emulator.heal", "gemma2", "leave heal out"],
    ),
    "no model": (EMULATOR, distill(model="nowhere"), nothing, ["no folder", "lab/nowhere"]),
    "model without weights": (
        EMULATOR,
        distill(),
        without("lab/model/model.safetensors"),
        ["lab/model is not a model", "*.safetensors"],
    ),
    "model without a tokenizer": (
        EMULATOR,
        distill(),
        without("lab/model/tokenizer.json"),
        ["cannot load the tokenizer in", "lab/model", "there is no tokenizer.json"],
    ),
    "weights that are damaged": (
        EMULATOR,
        distill(),
        text_in("lab/model/model.safetensors", "no weights"),
        ["lab/model", "model.safetensors"],
    ),
    "tokenizer of another model": (
        EMULATOR,
        distill(),
        other_model("llama", vocab_size=200),
        ["the tokenizer in", "lab/model cannot", "the id 279", "only 200 tokens", "own tokenizer"],
    ),
    "config that is not JSON": (
        EMULATOR,
        distill(),
        text_in("lab/model/config.json", "{"),
        ["cannot read", "lab/model/config.json"],
    ),
    "config that is a list": (
        EMULATOR,
        distill(),
        text_in("lab/model/config.json", "[]"),
        ["lab/model/config.json is not a JSON object"],
    ),
    **{
        f"config with {key} {value}": (
            EMULATOR,
            distill(),
            config_with(**{key: value}),
            ["lab/model"],
        )
        for key, value in (
            *(("hidden_size", bad) for bad in (0, -1, 33, 2**40, "32", None)),
            *(("num_attention_heads", bad) for bad in (0, 5)),
            *(("num_hidden_layers", bad) for bad in (0, 12, 10**9)),
            ("vocab_size", 10**12),
        )
    },
    "empty corpus": (
        EMULATOR,
        distill(),
        text_in("lab/corpus.txt", " \n"),
        ["corpus.txt is empty"],
    ),
    "no corpus": (EMULATOR, distill(), without("lab/corpus.txt"), ["no data file corpus.txt"]),
    "corpus that is a folder": (
        EMULATOR,
        distill(evaluate="folder.txt"),
        lambda parties: (parties.root / "lab/folder.txt").mkdir(),
        ["cannot read", "folder.txt"],
    ),
    "corpus that is no text": (
        EMULATOR,
        distill(evaluate="binary.txt"),
        lambda parties: shutil.copy(
            parties.root / "lab/model/model.safetensors", parties.root / "lab/binary.txt"
        ),
        ["cannot read", "binary.txt", "is not UTF-8 text"],
    ),
    "empty data": (
        ADAPTER,
        tune(),
        text_in("hospital/private.jsonl", "\n"),
        ["private.jsonl is empty"],
    ),
    "malformed data": (
        ADAPTER,
        tune(),
        text_in("hospital/private.jsonl", '{"text": "a"}\n{"text"'),
        ["private.jsonl:2 is not JSON"],
    ),
    "wrong columns": (
        ADAPTER,
        tune(),
        text_in("hospital/private.jsonl", '{"question": "a", "answer": "b"}'),
        ["private.jsonl:1 has the columns ['answer', 'question']", "prompt and completion"],
    ),
    "a table": (
        ADAPTER,
        tune(data={"train": "private.csv", "validation": "private.TSV"}),
        text_in("hospital/private.csv", "text\nsomething private\n"),
        [
            "spec.tune.data.train: must be a path",
            "spec.tune.data.validation: must be a path",
            "end in .jsonl or .ndjson",
            "convert other formats",
        ],
    ),
    "no data": (ADAPTER, tune(), without("hospital/private.jsonl"), ["private.jsonl"]),
    "no bundle": (
        ADAPTER,
        tune(bundle="other"),
        nothing,
        ["lab has sent hospital no bundle named other"],
    ),
    "no adapter": (
        PLUGGED,
        plug_in(adapter="other"),
        nothing,
        ["hospital has sent lab no bundle named other"],
    ),
    "bundle of another place": (
        ADAPTER,
        tune(bundle="other"),
        lambda parties: shutil.copytree(
            parties.published(EMULATOR), parties.exchange / LAB / HOSPITAL / "other"
        ),
        ["is an envelope of lab/hospital/emulator/1"],
    ),
    "bundle with a pickle": (
        ADAPTER,
        tune(),
        lambda parties: parties.resend(
            EMULATOR, lambda folder: (folder / "pytorch_model.bin").write_bytes(b"\x80")
        ),
        ["names a file that is not allowed", "pytorch_model.bin"],
    ),
    "peer that nobody knows": (
        ADAPTER,
        {**tune(), "peer": "clinic"},
        nothing,
        ["the keys of clinic are not pinned", "offsite peers add"],
    ),
    "peer that is the party itself": (
        EMULATOR,
        {**distill(), "peer": LAB},
        nothing,
        ["spec.peer is lab, which is you"],
    ),
    "bundle with a changed byte": (
        ADAPTER,
        tune(),
        lambda parties: flip(a_shard(parties)),
        ["was changed: it is not the shard"],
    ),
    "bundle with a shard cut off": (
        ADAPTER,
        tune(),
        lambda parties: os.truncate(a_shard(parties), 9),
        ["was changed: it is not the shard"],
    ),
    "bundle with a longer shard": (
        ADAPTER,
        tune(),
        lambda parties: a_shard(parties).write_bytes(a_shard(parties).read_bytes() + b"more"),
        ["is larger than"],
    ),
    "bundle that lacks a shard": (
        ADAPTER,
        tune(),
        lambda parties: a_shard(parties).unlink(),
        ["a shard is missing"],
    ),
    "bundle with an edited envelope": (
        ADAPTER,
        tune(),
        lambda parties: flip(next(parties.published(EMULATOR).rglob("envelope-*"))),
        ["was changed: its name is not its digest"],
    ),
    "export onto the model": (
        PLUGGED,
        plug_in(export={"to": "model"}),
        nothing,
        ["lab/model already exists", "export.to"],
    ),
    "bad peer": (EMULATOR, {**distill(), "peer": "Hospital!"}, nothing, ["spec.peer", "DNS label"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_2_and_leaves_nothing(
    reference: dict[str, Parties], tmp_path: Path, case: str
) -> None:
    name, spec, change, said = BAD[case]
    shutil.copytree(reference["all"].root, tmp_path / "copy")
    parties = Parties(tmp_path / "copy")
    if name == EMULATOR:
        # what a home has sent, and has forgotten, would be told first
        shutil.rmtree(parties.exchange / LAB)
        (parties.exchange / LAB).mkdir()
        for name in ("records", "disclosed", "published", "work", "books", "journals"):
            shutil.rmtree(parties.home(LAB) / "home" / name, ignore_errors=True)
    change(parties)
    assert_refused(parties, parties.write(f"{name}-2", spec), said)


def assert_refused(
    parties: Parties, job: Path, said: list[str], *options: str, most: int | None = None
) -> None:
    """Check that a job ends with 2, says why in both forms, and leaves nothing but its record."""
    as_it_was, records = listing(parties.root), set(parties.root.glob(RECORDS))
    run = start(parties, job, "--notices", "None", *options, most=most)
    assert run.wait() == 2, run.output + run.complaint
    last = run.events[-1]
    assert (last["event"], last["retryable"]) == ("failed", False)
    assert run.complaint.endswith(f"offsite: error: {last['message']}\n")
    assert "Traceback" not in run.complaint
    assert [part for part in said if part not in last["message"]] == [], last["message"]
    new = set(parties.root.glob(RECORDS)) - records
    assert len(new) <= 1, "what is refused before it runs has no record"
    for record in new:
        kept = json.loads(record.read_bytes())
        assert (kept["outcome"], kept["error"]["message"]) == ("Failed", last["message"])
        record.unlink()
    assert listing(parties.root) == as_it_was


@pytest.mark.parametrize("disclosed", ["Reason", "Message"])
def test_the_peer_is_told_that_it_failed_and_no_more(
    reference: dict[str, Parties], tmp_path: Path, disclosed: str
) -> None:
    parties, job = before(reference, ADAPTER, tmp_path)
    text_in("hospital/home/policy.yaml", "{minExamples: 1000, minSteps: 1, minBatchSize: 1}")(
        parties
    )
    failed = start(parties, job, "--notices", disclosed)
    assert failed.wait() == 2
    waiting = start(parties, parties.write(PLUGGED, plug_in()))
    assert waiting.wait() == 2
    last = waiting.events[-1]
    assert (last["reason"], waiting.events[:-1]) == ("NotSentError", [])
    told = last["message"].partition("; hospital reports that its Tune adapter failed on ")[2]
    assert told.partition(" UTC: ")[2] == "StageFailed"
    # what waits in vain tells nobody that it failed
    assert [path.parent.name for path in parties.exchange.rglob("notice")] == [ADAPTER]


FULL: dict[str, tuple[str, dict[str, Any], str]] = {
    "healing": (EMULATOR, distill(), ""),
    "a checkpoint": (
        EMULATOR,
        distill(emulator={"blocks": 2, "heal": False}),
        "checkpoint.safetensors",
    ),
    "an emulator": (EMULATOR, distill(None, emulator={"blocks": 2}), "result"),
    "a copy of the peer's bundle": (ADAPTER, tune(), "opened"),
    "a plugged-in model": (PLUGGED, plug_in(), "result"),
}


@pytest.mark.parametrize("case", FULL)
def test_no_space_left_is_told(reference: dict[str, Parties], tmp_path: Path, case: str) -> None:
    name, spec, where = FULL[case]
    shutil.copytree(reference["all"].root, tmp_path / "copy")
    parties = Parties(tmp_path / "copy")
    job = parties.write(f"{name}-2", spec)
    # the adapter, of which a copy is made, is smaller than that, and all models are larger
    most = 140_000 if name == PLUGGED else 60_000
    assert_refused(
        parties, job, ["no space is left for", where, "free some space"], *EAGER, most=most
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--home", "/nowhere"), ["no keys at /nowhere/keys/ring.json", "offsite keys init"]),
        (
            ("--exchange", "ftp://bucket"),
            ["'ftp://bucket' is not a valid exchange address", "s3://bucket"],
        ),
        (("--exchange", "file://host/folder"), ["file://host/folder", "file:///path"]),
        (("--exchange", ""), ["'' is not a valid exchange address", "file:///path"]),
    ],
)
def test_bad_options_are_2(
    reference: dict[str, Parties], tmp_path: Path, options: tuple[str, ...], said: list[str]
) -> None:
    parties, job = before(reference, EMULATOR, tmp_path)
    assert_refused(parties, job, said, *options)


@pytest.mark.parametrize("content", [b"spec: [", b"\xff\xfe", b"", b"a: 2024-13-45"])
def test_bad_job_file_is_2(reference: dict[str, Parties], tmp_path: Path, content: bytes) -> None:
    parties, job = before(reference, EMULATOR, tmp_path)
    job.write_bytes(content)
    assert_refused(parties, job, [f"{job} is not a valid job"])
    job.unlink()
    assert_refused(parties, job, [f"there is no job file {job}"])


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a file of another user")
def test_a_result_that_needs_an_approval_waits_with_an_exit_code_of_its_own(
    reference: dict[str, Parties], tmp_path: Path
) -> None:
    parties, job = before(reference, ADAPTER, tmp_path)
    policy = job.parent / "home" / POLICY
    policy.write_text(json.dumps(json.loads(policy.read_text()) | {"requireApproval": "Adapters"}))
    place = ("--approvals", str(tmp_path / "approvals"))
    waits = start(parties, job, *place)
    assert waits.wait() == 5, waits.complaint
    last = waits.events[-1]
    assert (last["event"], last["reason"], last["retryable"]) == (
        "failed",
        "AwaitingApproval",
        True,
    )
    [report] = [event["report"] for event in waits.events if event["event"] == "egress"]
    assert f"offsite approve adapter {report['digest']}" in waits.complaint
    # neither a bundle nor a notice
    assert not parties.published(ADAPTER).exists()
    verdict = tmp_path / "approvals" / f"adapter.{report['digest'][7:19]}.verdict.json"
    given = {"digest": report["digest"], "verdict": "Approved", "at": "2026-01-01T00:00:00Z"}
    verdict.write_text(json.dumps(given))
    os.chown(verdict, 65534, 65534)
    verdict.chmod(0o644)
    again = finish(start(parties, job, *place))
    assert again.steps("tune") == []
    assert is_there(parties, ADAPTER)
