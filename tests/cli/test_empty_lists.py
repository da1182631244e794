"""A list that is empty says so, apart from what programs read."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from offsite.sealing.peers import Peers
from offsite.wire import canonical
from offsite_cli.app import app
from offsite_testing.parties import HOSPITAL, ring_of

SAID = {
    ("bundles", "disclosed"): "no emulators were sent yet",
    ("bundles", "list"): "no bundles between you and your peers",
    ("bundles", "notices"): "no failed stages were reported between you and your peers",
    ("runs", "list"): "no runs are recorded here yet",
    ("peers", "list"): "no peers yet; add one with: offsite peers add FILE",
}


@pytest.mark.parametrize("command", SAID, ids=" ".join)
def test_a_list_of_nothing_says_so(command: tuple[str, str], tmp_path: Path) -> None:
    home, exchange = tmp_path / "home", tmp_path / "exchange"
    exchange.mkdir()
    run = CliRunner().invoke
    assert run(app, ["keys", "init", "lab", "--home", str(home)]).exit_code == 0
    more = ["--home", str(home)]
    if command in {("bundles", "list"), ("bundles", "notices")}:
        more += ["--exchange", exchange.as_uri()]
        Peers(home / "peers").add(canonical(ring_of(HOSPITAL).public().wire()), "hospital.pub")
    done = run(app, [*command, *more])
    told = f"offsite: {SAID[command]}\n"
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", told)
    done = run(app, [*command, *more, "--output", "json"])
    assert (done.exit_code, json.loads(done.stdout), done.stderr) == (0, [], "")
