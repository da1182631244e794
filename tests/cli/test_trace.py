"""`offsite bundles trace`: the owner of a model finds out whose emulator somebody has."""

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from offsite.errors import ModelError
from offsite.exchange.home import keep_ring, peers_of
from offsite.sealing import Ring
from offsite.steps.party import POLICY
from offsite.wire import canonical
from offsite_cli.app import app
from offsite_testing.parties import HOSPITAL, LAB, Parties, distill, new_parties, ring_of

CLINIC = "clinic"
FOUND, OTHER = "emulator", "emulator-other"


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    """A lab that has sent the same emulator to two peers."""
    parties = new_parties(tmp_path_factory.mktemp("parties") / "all")
    public = canonical(ring_of(CLINIC).public().wire())
    peers_of(parties.home(LAB) / "home").add(public, CLINIC)
    parties.run(FOUND, distill(None))
    parties.run(OTHER, {**distill(None), "peer": CLINIC})
    return parties


def ask(parties: Parties, *options: str) -> Result:
    environ = {"OFFSITE_HOME": str(parties.home(LAB) / "home")}
    return CliRunner().invoke(app, ["bundles", "trace", *options], env=environ)


def model(parties: Parties) -> str:
    return str(parties.home(LAB) / "model")


def test_recipient_of_a_found_emulator_is_named(sent: Parties) -> None:
    opened = sent.opened(FOUND)
    done = ask(sent, str(opened), "--model", model(sent))
    assert done.exit_code == 0, done.output
    first, named = done.stdout.splitlines()
    assert first.endswith("matrices with the marks of 2 emulators")
    digest = sent.envelope(FOUND).digest
    assert named.startswith(f"{HOSPITAL}: made from {FOUND} ({digest}), p < 1e-")
    asked = ask(sent, str(opened), "--model", model(sent), "-o", "json")
    hospital, clinic = json.loads(asked.stdout)
    assert (hospital["recipient"], hospital["envelope"]) == (HOSPITAL, digest)
    assert (hospital["found"], clinic["found"]) == (True, False)
    assert hospital["log10P"] < -6


def test_full_model_has_no_mark(sent: Parties) -> None:
    done = ask(sent, model(sent), "--model", model(sent))
    assert done.exit_code == 0, done.output
    assert "no mark found" in done.stdout


def test_what_finds_more_is_told(sent: Parties, tmp_path: Path) -> None:
    opened = sent.opened(FOUND)
    assert "set --model to your full model, which finds fainter" in ask(sent, str(opened)).stdout
    (opened / "config.json").unlink()
    refused = ask(sent, str(opened)).exception
    assert isinstance(refused, ModelError)
    assert "has no config.json" in str(refused)
    named = ask(sent, str(opened), "--model", model(sent)).stdout
    assert f"{HOSPITAL}: made from {FOUND}" in named
    args = ["bundles", "trace", str(opened), "--model", model(sent)]
    elsewhere = CliRunner().invoke(app, [*args, "--home", str(sent.home(HOSPITAL) / "home")])
    assert elsewhere.stdout.startswith("no mark found: no marked emulator was sent from here")


def test_other_keys_find_nothing(sent: Parties, tmp_path: Path) -> None:
    opened = sent.opened(FOUND)
    shutil.copytree(sent.root, tmp_path / "all")
    parties = Parties(tmp_path / "all")
    keep_ring(parties.home(LAB) / "home", Ring.new(LAB), None)
    done = ask(parties, str(opened), "--model", model(parties))
    assert done.exit_code == 0, done.output
    assert "your keys lack" in done.stderr
    assert "no mark found" in done.stdout


def test_rotated_and_revoked_keys_still_find_it(sent: Parties, tmp_path: Path) -> None:
    opened = sent.opened(FOUND)
    shutil.copytree(sent.root, tmp_path / "all")
    parties, ring = Parties(tmp_path / "all"), ring_of(LAB)
    old, later = ring.newest("sign").id, ring.rotated(timedelta(0))
    keep_ring(parties.home(LAB) / "home", later.revoked(old), None)
    done = ask(parties, str(opened), "--model", model(parties))
    assert f"{HOSPITAL}: made from" in done.stdout, done.output


def test_policy_switches_marks_off(sent: Parties, tmp_path: Path) -> None:
    shutil.copytree(sent.root, tmp_path / "all")
    parties = Parties(tmp_path / "all")
    (parties.home(LAB) / "home" / POLICY).write_text("watermark: false\n")
    parties.run("emulator-plain", distill(None))
    done = ask(parties, str(parties.opened("emulator-plain")), "--model", model(parties))
    assert f"cannot look for emulator-plain, sent to {HOSPITAL}: it has no mark" in done.stderr
    assert "no mark found" in done.stdout
