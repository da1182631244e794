"""`offsite bundles disclosed`: what a model's owner sees of what was sent, and of what is lost."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from offsite.errors import InputError
from offsite.exchange.home import peers_of
from offsite.wire import canonical
from offsite_cli.app import app
from offsite_testing.parties import HOSPITAL, LAB, Parties, new_parties, ring_of

CLINIC = "clinic"


def emulator(keep: int, peer: str) -> dict[str, object]:
    ends, kept = {"bottom": 1, "top": 1}, {"blocks": keep, "heal": False}
    section = {"model": "model", "ends": ends, "emulator": kept}
    return {"stage": "Distill", "peer": peer, "distill": section}


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    """A lab that has sent emulators of one model of twelve blocks to two peers."""
    parties = new_parties(tmp_path_factory.mktemp("parties") / "all", num_hidden_layers=12)
    public = canonical(ring_of(CLINIC).public().wire())
    peers_of(parties.home(LAB) / "home").add(public, CLINIC)
    parties.run("emulator-a", emulator(5, HOSPITAL))
    parties.run("emulator-b", emulator(6, CLINIC))
    return parties


@pytest.fixture
def parties(sent: Parties, tmp_path: Path) -> Parties:
    """The same, for one test to spoil."""
    shutil.copytree(sent.root, tmp_path / "all")
    return Parties(tmp_path / "all")


def ask(parties: Parties, *options: str) -> Result:
    environ = {"OFFSITE_HOME": str(parties.home(LAB) / "home")}
    return CliRunner().invoke(app, ["bundles", "disclosed", *options], env=environ)


def test_what_was_sent_is_shown_by_model(sent: Parties) -> None:
    done = ask(sent)
    assert done.exit_code == 0, done.output
    first, ends, middle, left, one, other = done.stdout.splitlines()
    assert first.startswith("sha256:")
    assert first.endswith(": 12 blocks")
    assert ends.split() == ["ends", "2", "of", "12,", "at", "most", "6:", "0,", "11"]
    assert middle.split()[:7] == ["middle", "6", "of", "10,", "at", "most", "8:"]
    assert left.split()[:3] == ["left", "2", "more"]
    assert "emulator-a → hospital  7 blocks" in one
    assert "emulator-b → clinic  8 blocks" in other


def test_programs_read_it_as_json(sent: Parties) -> None:
    [model] = json.loads(ask(sent, "--output", "json").stdout)
    assert (model["blocks"], model["ends"], model["remaining"]) == (12, [0, 11], 2)
    assert (model["mostEnds"], len(model["middle"]), model["mostMiddle"]) == (6, 6, 8)
    assert [each["recipient"] for each in model["emulators"]] == [HOSPITAL, CLINIC]
    assert {block["full"] for block in model["emulators"][1]["blocks"]} == {
        *model["ends"],
        *model["middle"],
    }


def test_the_limits_are_those_of_the_home(parties: Parties) -> None:
    (parties.home(LAB) / "home/policy.yaml").write_text("maxKeptBlocks: 0.7\n")
    [model] = json.loads(ask(parties, "--output", "json").stdout)
    assert (model["mostMiddle"], model["remaining"]) == (7, 1)


def test_the_store_of_a_cluster_is_shown_too(parties: Parties) -> None:
    home = parties.home(LAB) / "home"
    for name in ("disclosed", "records"):
        shutil.copytree(home / name, parties.root / "claim" / name)
        shutil.rmtree(home / name)
    assert ask(parties, "--output", "json").stdout == "[]\n"
    shown = ask(parties, "--private", (parties.root / "claim").as_uri())
    assert "emulator-b → clinic" in shown.stdout


def test_nothing_was_sent(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["bundles", "disclosed", "--home", str(tmp_path)])
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "offsite: no emulators were sent yet\n"
    args = ["bundles", "disclosed", "--home", str(tmp_path), "--output", "json"]
    done = CliRunner().invoke(app, args)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "[]\n", "")


def test_a_lost_entry_is_told_and_made_anew(parties: Parties) -> None:
    before = json.loads(ask(parties, "--output", "json").stdout)[0]
    (parties.home(LAB) / "home/disclosed/000002.json").unlink()
    done = ask(parties)
    assert done.exit_code == 1
    assert "lacks the entry of emulator-b" in str(done.exception)
    again = ask(parties, "--rebuild", "--output", "json")
    assert "rebuilt 1 entries from records" in again.stderr
    after = json.loads(again.stdout)[0]
    assert (after["ends"], after["middle"]) == (before["ends"], before["middle"])


def test_what_only_the_exchange_knows_is_given_up(parties: Parties) -> None:
    home = parties.home(LAB) / "home"
    for name in ("disclosed", "records", "published"):
        shutil.rmtree(home / name)
    done = ask(parties, "--rebuild", "--exchange", parties.exchange.as_uri())
    assert done.exit_code == 0, done.output
    assert "gave up emulator-a, sent to hospital (sha256:" in done.stderr
    assert done.stdout.count("unknown model: given up when the ledger was rebuilt") == 2
    parties.run("emulator-c", emulator(5, HOSPITAL))


def test_an_address_that_is_no_private_store_is_refused(sent: Parties) -> None:
    refused = ask(sent, "--private", "foo").exception
    assert isinstance(refused, InputError)
    assert "'foo' is not the address of a private store" in str(refused)
