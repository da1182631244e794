"""Who may read what a party keeps: nobody but itself, whatever the umask."""

import os
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from offsite.exchange import HomeLedger
from offsite.store import FolderStore, link_or_copy, locked, new_folder, whole_folder, write_whole
from offsite_testing.events import Wire
from offsite_testing.parties import (
    ADAPTER,
    EMULATOR,
    HOSPITAL,
    LAB,
    PLUGGED,
    distill,
    new_parties,
    plug_in,
    tune,
)


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def shown(folder: Path) -> dict[str, str]:
    """List what others may read in a folder, itself included."""
    every = [folder, *folder.rglob("*")]
    assert len(every) > 1
    allowed = {path: 0o700 if path.is_dir() else 0o600 for path in every if not path.is_symlink()}
    return {str(path): oct(mode(path)) for path, most in allowed.items() if mode(path) & ~most}


def test_a_home_is_its_party_s_alone(tmp_path: Path, umask: int) -> None:
    parties = new_parties(tmp_path)
    homes = [parties.home(party) / "home" for party in (LAB, HOSPITAL)]
    model = {path.name: mode(path) for path in (parties.home(LAB) / "model").iterdir()}
    # one that its user made beforehand
    homes[0].chmod(0o755)
    seen: dict[str, str] = {}

    def look(home: Path, _event: Wire) -> None:
        seen.update(shown(home))

    for name, spec, home in (
        (EMULATOR, distill(), homes[0]),
        (ADAPTER, tune(), homes[1]),
        (PLUGGED, plug_in(), homes[0]),
    ):
        parties.run(name, spec, partial(look, home))
    assert seen == {}
    assert [shown(home) for home in homes] == [{}, {}]
    assert all((home / "books").is_dir() for home in homes)
    assert (homes[0] / "models" / PLUGGED / "config.json").is_file()
    for path in (parties.home(LAB) / "model").iterdir():
        assert mode(path) == model[path.name], "the user's own file was changed"
    # what two accounts of one machine share is as it was
    for path in parties.exchange.rglob("*"):
        assert mode(path) == (0o777 if path.is_dir() else 0o644) & ~umask


def test_an_export_outside_the_home_follows_the_umask(tmp_path: Path, umask: int) -> None:
    parties = new_parties(tmp_path)
    parties.run(EMULATOR, distill(None))
    parties.run(ADAPTER, tune())
    parties.run(PLUGGED, plug_in(export={"to": "shared"}))
    folder = parties.home(LAB) / "shared"
    assert mode(folder) == 0o777 & ~umask
    assert {mode(path) for path in folder.iterdir()} == {0o666 & ~umask}
    assert shown(parties.home(LAB) / "home") == {}


def test_what_is_kept_is_private_wherever_it_is_made(tmp_path: Path, umask: int) -> None:
    home = tmp_path / "a/home"
    write_whole(home / "notes/x", b"x")
    HomeLedger(home / "books").allot("lab", "answer", "job")
    with new_folder(home / "work/job"):
        pass
    with whole_folder(home / "models/one") as scratch:
        write_whole(scratch / "x", b"x")
    with locked(home / "work/job.lock"):
        assert shown(tmp_path / "a") == {}
    (tmp_path / "mine").touch()
    before = mode(tmp_path / "mine")
    link_or_copy(tmp_path / "mine", home / "linked")
    assert mode(tmp_path / "mine") == before
    FolderStore(tmp_path / "exchange").put("lab/hospital/x", b"x")
    assert mode(tmp_path / "exchange/lab") == 0o777 & ~umask
