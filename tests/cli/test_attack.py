"""`offsite attack recover`: an emulator in a folder, and the union that the ledger lists."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from offsite.errors import InputError
from offsite_cli.app import app
from offsite_testing.parties import LAB, Parties, distill, new_parties
from offsite_testing.skilled import prose, save_skilled


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    """A lab that sent an emulator of three middle blocks, and then one of one block."""
    made = new_parties(tmp_path_factory.mktemp("attack") / "parties")
    lab = made.home(LAB)
    save_skilled(lab / "model")
    (lab / "corpus.txt").write_text(prose(3000, 1), encoding="utf-8")
    for name, blocks in (("emulator-large", 3), ("emulator", 1)):
        emulator = {"blocks": blocks, "calibration": "corpus.txt"}
        made.run(name, distill(None, emulator=emulator, evaluate=None))
    return made


def attack(parties: Parties, *more: str) -> str:
    lab = parties.home(LAB)
    place = ["--home", str(lab / "home"), "--model", str(lab / "model")]
    data = ["--data", str(lab / "corpus.txt"), "--steps", "1"]
    command = ["attack", "recover", *more, *place, *data]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_an_emulator_and_the_union_are_attacked(parties: Parties) -> None:
    opened = str(parties.opened("emulator"))
    found = json.loads(attack(parties, opened, "--union", "--how", "Nothing", "-o", "json"))
    one, together = found["found"]
    assert (one["subject"], together["subject"]) == ("Emulator", "Union")
    assert one["share"] < together["share"] < 1.05
    assert len(found["blocks"]) == 5
    healed = {gap["below"]: gap["explained"] for gap in found["healed"]}
    assert max(healed.values()) > 0.3


def test_the_union_alone_is_attacked_in_each_way(parties: Parties) -> None:
    lines = attack(parties, "--union").splitlines()
    assert [line.split()[:2] for line in lines[:4]] == [
        ["Union", way] for way in ("Nothing", "LoRA", "Middle", "All")
    ]
    assert lines[4].startswith("most: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name the folder of an emulator"),
        (["--union", "--how", "Some"], "there is no attack 'Some'"),
    ],
)
def test_what_cannot_be_attacked_is_an_error(arguments: list[str], message: str) -> None:
    command = ["attack", "recover", *arguments, "--model", "m", "--data", "d.txt"]
    done = CliRunner().invoke(app, command)
    assert isinstance(done.exception, InputError)
    assert message in str(done.exception)


def test_a_model_of_which_nothing_was_sent_has_no_union(parties: Parties, tmp_path: Path) -> None:
    empty = tmp_path / "home"
    empty.mkdir()
    lab = parties.home(LAB)
    place = ["--home", str(empty), "--model", str(lab / "model")]
    command = ["attack", "recover", "--union", *place, "--data", str(lab / "corpus.txt")]
    done = CliRunner().invoke(app, command)
    assert isinstance(done.exception, InputError)
    assert "no emulator" in str(done.exception)
