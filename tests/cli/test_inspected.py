"""`offsite bundles inspect`: an emulator in the exchange, or in a folder."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner, Result

from offsite.errors import InputError, SuspiciousEmulator
from offsite.inspection import SIGNS
from offsite_cli.app import app
from offsite_testing.models import save_tiny
from offsite_testing.parties import EMULATOR, HOSPITAL, LAB, Parties, distill, new_parties


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    """A lab that has sent an honest emulator."""
    parties = new_parties(tmp_path_factory.mktemp("parties") / "all")
    parties.run(EMULATOR, distill(None))
    return parties


def ask(*options: str | Path, home: Path = Path()) -> Result:
    environ = {"OFFSITE_HOME": str(home), "OFFSITE_EXCHANGE": ""}
    return CliRunner().invoke(app, ["bundles", "inspect", *map(str, options)], env=environ)


def test_an_emulator_of_a_peer_is_inspected_without_a_job(
    parties: Parties, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(EMULATOR).mkdir()  # with --peer, a folder of that name is not meant
    exchange = ("--peer", LAB, "--exchange", parties.exchange.as_uri())
    done = ask(EMULATOR, *exchange, "-o", "json", home=parties.home(HOSPITAL) / "home")
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)
    assert {each["sign"] for each in figures} == set(SIGNS)
    assert not [each for each in figures if each["suspicious"]]


def test_a_folder_is_inspected_without_keys(tmp_path: Path) -> None:
    save_tiny(tmp_path / "model")
    path = tmp_path / "model/model.safetensors"
    tensors = load_file(path)
    tensors["model.norm.weight"] *= 1e-9
    save_file(tensors, path, metadata={"format": "pt"})
    done = ask(tmp_path / "model")
    assert isinstance(done.exception, SuspiciousEmulator)
    marked = [line for line in done.stdout.splitlines() if line.startswith("SUSPICIOUS")]
    assert len(marked) == 1
    assert "spread of the logits" in marked[0]


def test_a_name_needs_a_peer_and_an_exchange(tmp_path: Path) -> None:
    done = ask("no-such-folder", home=tmp_path)
    assert isinstance(done.exception, InputError)
    assert "--peer and --exchange" in str(done.exception)
    done = ask("emulator", "--peer", LAB, home=tmp_path)
    assert "set --exchange to the exchange" in str(done.exception)
