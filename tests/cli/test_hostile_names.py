"""Commands on this machine, where files, keys, jobs and what lies in the exchange have any name."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from offsite.errors import OffsiteError
from offsite.exchange.home import keep_ring, peers_of
from offsite.sealing import Ring
from offsite.wire import canonical
from offsite_cli.app import app
from offsite_testing.foreign import HOSTILE, assert_harmless
from offsite_testing.parties import tune

FORMS = ("text", "json")
NAME = HOSTILE.replace("\0", "").replace("/", "")[:70]
DIGEST = "sha256:" + "0" * 64


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A party's home, and its exchange, in a folder of a hostile name."""
    root = tmp_path / NAME
    lab, hospital = Ring.new("lab"), Ring.new("hospital")
    keep_ring(root / "home", lab, None)
    peers_of(root / "home").add(canonical(hospital.public().wire()), "hospital")
    monkeypatch.setenv("OFFSITE_HOME", str(root / "home"))
    monkeypatch.setenv("OFFSITE_EXCHANGE", (root / "exchange").as_uri())
    return root


def run(*arguments: str | Path) -> str:
    """Run a command; what a library or a bug would print raw is not escaped here."""
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    error = done.exception
    assert error is None or isinstance(error, OffsiteError | SystemExit), repr(error)
    return done.output + (str(error) if isinstance(error, OffsiteError) else "")


def test_what_lies_in_the_exchange_is_told_escaped(home: Path) -> None:
    for name in (f"{DIGEST[7:]}.envelope", f"{NAME}.json", NAME, f"1-{DIGEST[7:]}.json"):
        for place in ("hospital/lab/answer/1", f"hospital/lab/{NAME}/1", "hospital/lab/notices"):
            path = home / "exchange" / place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({HOSTILE: HOSTILE}))
    shown: list[list[str | Path]] = [
        ["bundles", each, "-o", form] for each in ("list", "notices") for form in FORMS
    ]
    more: list[list[str | Path]] = [
        ["bundles", "show", DIGEST],
        ["bundles", "show", NAME],
        ["bundles", "verify", DIGEST],
        ["bundles", "verify", home],
        ["bundles", "pull", "answer", home / "out", "--peer", "hospital"],
        ["bundles", "pull", NAME, home / "out", "--peer", NAME],
        ["bundles", "push", home, "--peer", "hospital"],
        ["bundles", "rm", NAME, "--peer", "hospital"],
        ["bundles", "rm", "answer", "--peer", "hospital"],
    ]
    for arguments in (*shown, *more):
        assert_harmless(run(*arguments))


def test_a_peer_s_public_file_is_told_escaped(home: Path) -> None:
    known = json.loads(canonical(Ring.new("hospital").public().wire()))
    for spoiled in (
        {**known, HOSTILE: HOSTILE},
        {**known, "id": HOSTILE},
        {**known, "entries": [{HOSTILE: HOSTILE}]},
        HOSTILE,
    ):
        path = home / "hospital.pub"
        path.write_text(json.dumps(spoiled))
        for command in ("add", "manifest"):
            said = run("peers", command, path)
            assert_harmless(said)
            assert said
    for form in FORMS:
        assert_harmless(run("peers", "list", "-o", form))
        assert_harmless(run("keys", "show", "-o", form))
    assert_harmless(run("keys", "export", home / "own.pub"))
    assert_harmless(run("keys", "init", NAME))
    assert_harmless(run("peers", "remove", NAME))


ROWS: dict[str, Any] = {
    "another column": {HOSTILE: HOSTILE},
    "no text": {"text": [HOSTILE]},
    "no choice": {"prompt": HOSTILE, "completion": HOSTILE, "choices": [f"{HOSTILE}2", "b"]},
    "a text": HOSTILE,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_data_of_any_name_and_columns_is_told_escaped(home: Path, row: Any, form: str) -> None:
    (home / f"{NAME}.jsonl").write_text(json.dumps(row) + "\n")
    job = {
        "apiVersion": "offsite-tuning.dev/v1alpha1",
        "kind": "OffsiteJob",
        "metadata": {"name": "adapter"},
        "spec": {"peer": "hospital", **tune()},
    }
    text = json.dumps(job).replace("private.jsonl", json.dumps(f"{NAME}.jsonl")[1:-1])
    (home / "job.yaml").write_text(text)
    said = run("run", home / "job.yaml", "-o", form)
    assert_harmless(said)
    assert said
    assert_harmless(run("run", home / f"{NAME}.yaml", "-o", form))


def test_the_demo_names_what_it_was_given_escaped(home: Path) -> None:
    (home / f"{NAME}.jsonl").write_text(json.dumps({HOSTILE: HOSTILE}) + "\n")
    for option, named in (
        ("--data", f"{NAME}.jsonl"),
        ("--task", f"{NAME}.jsonl"),
        ("--data", "x"),
    ):
        said = run("demo", "--folder", home / "demo", option, home / named, "--prepare")
        assert_harmless(said)
        assert said
