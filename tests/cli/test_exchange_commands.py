"""`offsite keys`, `peers` and `bundles` as two people use them, who begin with nothing."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from offsite.bundle import (
    AdapterFacts,
    EmulatorFacts,
    Origin,
    read_manifest,
    write_manifest,
    write_provenance,
)
from offsite.errors import BundleError, InputError, OffsiteError
from offsite.events import Monitor
from offsite.exchange import FailedJob, Outgoing, push, send_notice
from offsite.exchange.home import open_mailbox, ring_path
from offsite.sealing import Notice, load_ring, save_ring
from offsite.store import locked
from offsite_cli.app import app

NO_EMULATOR = "sha256:" + "0" * 64


class People:
    """Two people at one machine, each with a home."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, who: str, *arguments: str | Path) -> Result:
        environ = {
            "OFFSITE_HOME": str(self.root / who),
            "OFFSITE_EXCHANGE": (self.root / "exchange").as_uri(),
        }
        return CliRunner().invoke(app, [str(each) for each in arguments], env=environ)

    def ok(self, who: str, *arguments: str | Path) -> str:
        done = self.run(who, *arguments)
        assert done.exit_code == 0, f"{done.output}{done.exception!r}"
        return done.stdout

    def said(self, who: str, *arguments: str | Path) -> Any:
        return json.loads(self.ok(who, *arguments))

    def public(self, who: str) -> Path:
        self.ok(who, "keys", "export", self.root / f"{who}.pub")
        return self.root / f"{who}.pub"

    def bundle(self, answers: str = NO_EMULATOR) -> Path:
        """Make what the hospital may send as an adapter."""
        facts = AdapterFacts(method="LoRA", scope="All", rank=1, answers=answers)
        return self._bundle("answer", facts, made_by="hospital", made_for="lab")

    def _bundle(self, name: str, facts: AdapterFacts | EmulatorFacts, **parties: str) -> Path:
        folder = self.root / name
        folder.mkdir()
        (folder / "adapter.safetensors").write_bytes(b"weights")
        fields: dict[str, Any] = {"architecture": "X", "dtype": "float32", "facts": facts}
        write_manifest(folder, name=name, **parties, **fields)
        return folder

    def emulator(self) -> Path:
        """Make what the lab may send as an emulator."""
        facts = EmulatorFacts(bottom=1, top=1, healed=False, distilled_steps=0)
        return self._bundle("question", facts, made_by="lab", made_for="hospital")

    def chain(self) -> dict[str, str]:
        """Send an emulator one way and an adapter back; give their envelopes by kind."""
        lab = open_mailbox(self.root / "lab", (self.root / "exchange").as_uri(), {})
        push(lab, Outgoing(self.emulator(), "hospital", "job"), Monitor(lambda event: None))
        (listed,) = self.said("lab", "bundles", "list", "-o", "json")
        self.ok("hospital", "bundles", "push", self.bundle(listed["digest"]), "--peer", "lab")
        every = self.said("lab", "bundles", "list", "-o", "json")
        return {each["kind"]: each["digest"] for each in every}

    def plugged(self, adapter: str, emulator: str, by: str = "lab") -> Path:
        """Make what a party says is a plugged-in model."""
        folder = self.root / "plugged"
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"weights")
        ring = load_ring(ring_path(self.root / by))
        write_provenance(folder, ring, Origin(emulator=emulator, adapter=adapter, alpha=1))
        return folder


@pytest.fixture
def people(tmp_path: Path) -> People:
    """A lab and a hospital that pinned each other's keys."""
    people = People(tmp_path)
    for who in ("lab", "hospital"):
        people.ok(who, "keys", "init", who)
    people.ok("lab", "peers", "add", people.public("hospital"))
    people.ok("hospital", "peers", "add", people.public("lab"))
    return people


def test_both_read_the_same_fingerprint(people: People) -> None:
    shown = people.said("hospital", "keys", "show", "-o", "json")
    (pinned,) = people.said("lab", "peers", "list", "-o", "json")
    assert pinned == {"alias": "hospital", "id": "hospital", "fingerprint": shown["fingerprint"]}
    assert shown["fingerprint"] in people.ok("lab", "peers", "list")
    assert {key["purpose"] for key in shown["keys"]} == {"encrypt", "sign"}
    assert "PRIVATE" not in json.dumps(shown)


def test_keys_are_made_once(people: People) -> None:
    again = people.run("lab", "keys", "init", "lab")
    assert isinstance(again.exception, InputError)
    assert "`offsite keys rotate`" in str(again.exception)
    odd = people.run("other", "keys", "init", "The Lab")
    assert "must be a DNS label" in str(odd.exception)
    assert not (people.root / "other").exists()


def test_a_bundle_goes_from_one_to_the_other(people: People, tmp_path: Path) -> None:
    folder = people.bundle()
    people.ok("hospital", "bundles", "push", folder, "--peer", "lab")
    (listed,) = people.said("lab", "bundles", "list", "-o", "json")
    assert (listed["sender"], listed["name"], listed["sequence"]) == ("hospital", "answer", 1)
    people.ok("lab", "bundles", "pull", "answer", tmp_path / "got", "--peer", "hospital")
    assert (tmp_path / "got/adapter.safetensors").read_bytes() == b"weights"
    digest = listed["digest"]
    assert digest in people.ok("lab", "bundles", "verify", digest)
    (verified,) = people.said("lab", "bundles", "verify", digest, "-o", "json")
    assert verified["digest"] == digest
    broken = people.run("lab", "bundles", "verify", digest, "--chain")
    assert f"there is no envelope {NO_EMULATOR}" in str(broken.exception)
    shown = people.said("lab", "bundles", "show", digest)
    _, manifest = read_manifest(folder)
    derived = hashlib.sha256(manifest.encode()).hexdigest()
    assert shown["header"]["job"] not in derived  # by which the store could confirm a guess
    assert shown["header"]["recipient"] == "lab"
    twice = people.run("lab", "bundles", "pull", "answer", tmp_path / "got", "--peer", "hospital")
    assert "already exists" in str(twice.exception)
    people.ok("hospital", "bundles", "rm", "answer", "--peer", "lab")
    gone = people.run("lab", "bundles", "pull", "answer", tmp_path / "new", "--peer", "hospital")
    assert "hospital withdrew answer" in str(gone.exception)
    assert not (tmp_path / "new").exists()


def test_both_see_what_failed(people: People) -> None:
    assert people.said("lab", "bundles", "notices", "-o", "json") == []
    mailbox = open_mailbox(people.root / "hospital", (people.root / "exchange").as_uri(), {})
    send_notice(
        mailbox, FailedJob("lab", "answer", "job", Notice.of("Tune", "DataError", "no text"))
    )
    for who in ("lab", "hospital"):
        assert "Tune answer failed on" in people.ok(who, "bundles", "notices")
        (told,) = people.said(who, "bundles", "notices", "-o", "json")
        assert (told["sender"], told["name"]) == ("hospital", "answer")
        assert (told["stage"], told["reason"], told["message"]) == ("Tune", "DataError", "no text")
        assert people.said(who, "bundles", "list", "-o", "json") == []
    early = people.run(
        "lab", "bundles", "pull", "answer", people.root / "out", "--peer", "hospital"
    )
    assert "hospital reports that its Tune answer failed on" in str(early.exception)
    (people.root / "exchange/hospital/lab/answer/notice").write_bytes(b"junk")
    passed_over = people.run("lab", "bundles", "notices")
    assert passed_over.exit_code == 0
    assert passed_over.stdout == ""
    assert "skipped: " in passed_over.stderr


def test_a_model_is_verified_with_public_keys_alone(people: People) -> None:
    sent = people.chain()
    for who in ("lab", "hospital"):
        people.ok("auditor", "peers", "add", people.public(who))
    plugged = people.plugged(**sent)
    told = people.run("auditor", "bundles", "verify", plugged, "--chain")
    assert f"{plugged} matches the signature of lab, alpha 1" in told.stderr
    shown = [line.split()[-1] for line in told.stdout.splitlines()]
    assert shown == [sent["adapter"], sent["emulator"]]
    # a newer adapter takes the place of the shards, and not of what was signed
    shutil.rmtree(people.root / "answer")
    people.ok("hospital", "bundles", "push", people.bundle(NO_EMULATOR), "--peer", "lab")
    people.ok("auditor", "bundles", "verify", plugged, "--chain")
    old = people.run("auditor", "bundles", "verify", sent["adapter"])
    assert "sequence 2 replaced it" in old.stderr
    assert people.said("auditor", "bundles", "show", sent["adapter"])["sequence"] == 1


@pytest.mark.parametrize("by", ["hospital", "mallory"])
def test_a_model_that_another_party_signed_is_told(people: People, by: str) -> None:
    people.ok("mallory", "keys", "init", "mallory")
    people.ok("lab", "peers", "add", people.public("mallory"))
    plugged = people.plugged(**people.chain(), by=by)
    told = people.run("lab", "bundles", "verify", plugged)
    assert f"was signed by {by}, but the adapter in it was sent to lab" in str(told.exception)


def test_what_is_not_ours_is_not_sent(people: People) -> None:
    folder = people.bundle()
    wrong = people.run("lab", "bundles", "push", folder, "--peer", "hospital")
    assert isinstance(wrong.exception, BundleError)
    assert "was made by hospital for lab, not by lab for hospital" in str(wrong.exception)
    (folder / "adapter.safetensors").write_bytes(b"other weights")
    changed = people.run("hospital", "bundles", "push", folder, "--peer", "lab")
    assert "damaged or changed" in str(changed.exception)
    assert not (people.root / "exchange").exists()


def test_an_emulator_is_sent_by_what_keeps_its_record(people: People) -> None:
    refused = people.run("lab", "bundles", "push", people.emulator(), "--peer", "hospital")
    assert isinstance(refused.exception, InputError)
    assert "is an emulator; send it with `offsite run`" in str(refused.exception)
    assert not (people.root / "exchange").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("bundles", "pull", "answer", "x" * 300, "--peer", "hospital"),
        ("bundles", "pull", "answer", "lab.pub/x", "--peer", "hospital"),
        ("bundles", "verify", "x" * 300),
        ("keys", "export", "x" * 300),
        ("keys", "export", "."),
        ("keys", "export", "/"),
    ],
    ids=lambda arguments: "-".join(each[:9] for each in arguments),
)
def test_a_path_that_cannot_be_used_is_told(
    people: People, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    people.ok("hospital", "bundles", "push", people.bundle(), "--peer", "lab")
    monkeypatch.chdir(people.root)
    refused = people.run("lab", *arguments)
    assert isinstance(refused.exception, InputError), refused.exception
    assert re.search("cannot use|is a folder", str(refused.exception))


def test_keys_rotate_and_the_peer_takes_them(people: People, tmp_path: Path) -> None:
    people.ok("hospital", "keys", "rotate")
    people.ok("hospital", "bundles", "push", people.bundle(), "--peer", "lab")
    early = people.run("lab", "bundles", "pull", "answer", tmp_path / "got", "--peer", "hospital")
    assert "ask for its newest public file" in str(early.exception)
    former = people.said("lab", "peers", "list", "-o", "json")[0]["fingerprint"]
    added = people.run("lab", "peers", "add", people.public("hospital"))
    assert f"replaced the keys of hospital ({former}) by newer ones" in added.stderr
    fresh = people.said("lab", "peers", "list", "-o", "json")[0]["fingerprint"]
    assert added.stdout == f"hospital: {fresh}\n"
    assert fresh != former
    people.ok("lab", "bundles", "pull", "answer", tmp_path / "got", "--peer", "hospital")


def test_a_revoked_key_is_refused(people: People, tmp_path: Path) -> None:
    people.ok("hospital", "bundles", "push", people.bundle(), "--peer", "lab")
    keys = people.said("hospital", "keys", "show", "-o", "json")["keys"]
    (signing,) = (key["id"] for key in keys if key["purpose"] == "sign")
    alone = people.run("hospital", "keys", "revoke", signing)
    assert "rotate first" in str(alone.exception)
    people.ok("hospital", "keys", "rotate")
    people.ok("lab", "peers", "add", people.public("hospital"))
    people.ok("hospital", "keys", "revoke", signing)
    people.ok("lab", "peers", "add", people.public("hospital"))
    refused = people.run("lab", "bundles", "pull", "answer", tmp_path / "x", "--peer", "hospital")
    assert "was revoked on" in str(refused.exception)


def test_a_stranger_with_the_same_name_is_refused(people: People) -> None:
    stranger = People(people.root / "elsewhere")
    stranger.root.mkdir()
    stranger.ok("hospital", "keys", "init", "hospital")
    refused = people.run("lab", "peers", "add", stranger.public("hospital"))
    assert "no pinned key signed it" in str(refused.exception)
    people.ok("lab", "peers", "remove", "hospital")
    people.ok("lab", "peers", "add", stranger.public("hospital"))
    again = people.run("lab", "peers", "remove", "nobody")
    assert "no peer nobody is pinned" in str(again.exception)


def test_a_passphrase_is_needed_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "passphrase"
    secret.touch(mode=0o600)
    secret.write_text("correct horse\n")
    people = People(tmp_path)
    monkeypatch.setenv("OFFSITE_PASSPHRASE_FILE", str(secret))
    people.ok("lab", "keys", "init", "lab")
    people.ok("lab", "keys", "show")
    secret.write_text("wrong\n")
    assert "passphrase" in str(people.run("lab", "keys", "show").exception)
    secret.chmod(0o644)
    assert "chmod 600" in str(people.run("lab", "keys", "show").exception)
    monkeypatch.delenv("OFFSITE_PASSPHRASE_FILE")
    assert "OFFSITE_PASSPHRASE_FILE" in str(people.run("lab", "keys", "show").exception)


class Terminal:
    """The command on a terminal of its own, with keyboard input."""

    def __init__(self, home: Path, *arguments: str) -> None:
        spawn = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
        command = [sys.executable, "-c", spawn, sys.executable, "-m", "offsite_cli", *arguments]
        environ = {**os.environ, "OFFSITE_HOME": str(home)}
        environ.pop("OFFSITE_PASSPHRASE_FILE", None)
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environ)
        self.shown = ""

    def answers(self, prompt: str, text: str) -> None:
        """Wait for a prompt to its end: what is typed before that is thrown away."""
        assert self.process.stdout is not None
        assert self.process.stdin is not None
        seen = ""
        while prompt not in seen:
            piece = self.process.stdout.read1(4096).decode()  # type: ignore[attr-defined]
            assert piece, f"it ended: {self.shown}"
            seen += piece
            self.shown += piece
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()

    def end(self) -> int:
        self.shown += self.process.communicate(timeout=60)[0].decode()
        return self.process.returncode


def test_a_passphrase_may_be_typed(tmp_path: Path) -> None:
    made = Terminal(tmp_path, "keys", "init", "lab", "--passphrase")
    made.answers("new passphrase: ", "correct horse")
    made.answers("Repeat for confirmation: ", "correct horse")
    assert made.end() == 0, made.shown
    rotated = Terminal(tmp_path, "keys", "rotate")
    rotated.answers("ring.json: ", "correct horse")
    assert rotated.end() == 0, rotated.shown
    assert len(load_ring(ring_path(tmp_path), "correct horse").entries) == 4
    wrong = Terminal(tmp_path, "keys", "show")
    wrong.answers("ring.json: ", "battery staple")
    assert wrong.end() == 2
    assert "is wrong" in wrong.shown
    assert "Traceback" not in wrong.shown
    for terminal in (made, rotated, wrong):
        assert "horse" not in terminal.shown, "what was typed is shown"


def test_nobody_is_asked_where_there_is_no_terminal(people: People) -> None:
    told = people.run("new", "keys", "init", "new", "--passphrase").exception
    assert isinstance(told, InputError)
    assert "OFFSITE_PASSPHRASE_FILE" in str(told)
    save_ring(load_ring(ring_path(people.root / "lab")), ring_path(people.root / "lab"), "horse")
    for command in (["keys", "show"], ["keys", "rotate"], ["bundles", "rm", "x", "--peer", "lab"]):
        told = people.run("lab", *command).exception
        assert isinstance(told, InputError)
        assert "OFFSITE_PASSPHRASE_FILE" in str(told)


CHANGES: dict[str, Callable[[Path], object]] = {
    "a file was changed": lambda folder: (folder / "model.safetensors").write_bytes(b"Weights"),
    "a file is gone": lambda folder: (folder / "model.safetensors").unlink(),
    "a file came later": lambda folder: (folder / "more.safetensors").touch(),
    "no provenance": lambda folder: (folder / "provenance.json").unlink(),
    "another alpha": lambda folder: _rewrite(folder, '"alpha":1.0', '"alpha":0.5'),
    "another party": lambda folder: _rewrite(folder, '"madeBy":"lab"', '"madeBy":"hospital"'),
    "a stranger": lambda folder: _rewrite(folder, '"madeBy":"lab"', '"madeBy":"clinic"'),
    "no JSON": lambda folder: _rewrite(folder, "{", "["),
}


def _rewrite(folder: Path, old: str, new: str) -> None:
    path = folder / "provenance.json"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize("change", CHANGES)
def test_a_model_that_was_changed_is_told(people: People, change: str) -> None:
    plugged = people.plugged(**people.chain())
    people.ok("hospital", "bundles", "verify", plugged)
    CHANGES[change](plugged)
    told = people.run("hospital", "bundles", "verify", plugged)
    assert isinstance(told.exception, BundleError)


def test_a_model_of_another_emulator_is_told(people: People) -> None:
    plugged = people.plugged(**people.chain() | {"emulator": "sha256:" + "1" * 64})
    told = people.run("hospital", "bundles", "verify", plugged)
    assert "names another emulator" in str(told.exception)


def test_a_party_is_not_its_own_peer(people: People) -> None:
    own = people.public("lab")
    for _ in range(2):
        told = people.run("lab", "peers", "add", own, "--alias", "twin")
        assert "has your own id" in str(told.exception)
        (people.root / "lab/keys/public.json").unlink(missing_ok=True)


def test_a_private_file_is_not_handed_out(people: People) -> None:
    told = people.run("hospital", "peers", "add", people.root / "lab/keys/ring.json")
    assert "has private keys; keep it secret" in str(told.exception)


def test_only_what_was_sent_is_taken_back(people: People) -> None:
    told = people.run("lab", "bundles", "rm", "nothing", "--peer", "hospital")
    assert isinstance(told.exception, InputError)
    assert "has sent hospital no bundle named nothing" in str(told.exception)


@pytest.mark.parametrize("name", ["../b", "b@foo", "B", "b@sha256:00"])
def test_a_name_that_is_none_is_told(people: People, name: str) -> None:
    told = people.run("lab", "bundles", "pull", name, people.root / "x", "--peer", "hospital")
    assert isinstance(told.exception, InputError)
    assert "must be the name of a bundle" in str(told.exception)


@pytest.mark.parametrize("command", [("rotate",), ("revoke", "0" * 16)])
def test_keys_are_changed_by_one_process_at_a_time(people: People, command: tuple[str]) -> None:
    with locked(people.root / "lab/keys/ring.lock"):
        told = people.run("lab", "keys", *command)
    assert isinstance(told.exception, OffsiteError)
    assert "another process changes these keys" in str(told.exception)


def test_a_passphrase_that_is_no_text_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "passphrase"
    secret.touch(mode=0o600)
    secret.write_bytes(b"\xffhidden")
    monkeypatch.setenv("OFFSITE_PASSPHRASE_FILE", str(secret))
    told = People(tmp_path).run("lab", "keys", "init", "lab").exception
    assert isinstance(told, InputError)
    assert "is not UTF-8 text" in str(told)
    assert told.__cause__ is None


@pytest.mark.parametrize("target", ["nowhere", "sha256:00", "sha256:" + "0" * 64])
def test_verify_needs_something_to_verify(people: People, target: str) -> None:
    done = people.run("lab", "bundles", "verify", target)
    assert isinstance(done.exception, InputError)
