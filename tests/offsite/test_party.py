"""Where the things of a party lie, as its pods see them."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from offsite.config import load_job
from offsite.errors import DataError, InputError
from offsite.rows import DataFile, ImageRow, image_rows
from offsite.steps.party import Party
from offsite.steps.pod import Pod
from offsite.store.artifact_store import FolderArtifactStore
from offsite.store.private_store import PrivateStore
from offsite.task import WorkTask
from offsite_testing.images import image_folder
from offsite_testing.jobs import EXAMPLES


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/offsite/identity/ring.json",
        "/etc/offsite/identity/passphrase",
        "../etc/offsite/exchange/credentials.json",
        "link/identity/ring.json",
    ],
)
def test_a_forged_task_cannot_have_keys_read_as_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str
) -> None:
    monkeypatch.chdir("/tmp")
    (tmp_path / "link").symlink_to("/etc/offsite")
    location = location.replace("link", str(tmp_path / "link"))
    task = WorkTask(
        uid="u",
        party="lab",
        peer_id="hospital",
        private=tmp_path.as_uri(),
        job=load_job(EXAMPLES / "distill.yaml"),
    )
    party = Pod(task, {"OFFSITE_SCRATCH": str(tmp_path)}).party()
    for find in (party.data, party.model):
        with pytest.raises(InputError, match=location):
            find(location)


def test_a_folder_on_a_volume_leads_nowhere_else(tmp_path: Path) -> None:
    claims, outside = tmp_path / "claims", tmp_path / "outside"
    root = image_folder(claims / "records" / "images", {"cat": 1})
    image_folder(outside, {"secret": 1})
    store = PrivateStore(tmp_path / "copies", None, {})
    party = Party("hospital", tmp_path, store, FolderArtifactStore(tmp_path), claims=claims)

    def read(location: str) -> Sequence[ImageRow]:
        return image_rows(DataFile(party.data(location), location))

    assert [row.label for row in read("pvc://records/images/")] == ["cat"]
    (claims / "records" / "inner").symlink_to("images")
    assert [row.label for row in read("pvc://records/inner/")] == ["cat"]
    (claims / "records" / "link").symlink_to(outside)
    with pytest.raises(InputError, match="pvc://records/link/ leads out of its volume"):
        read("pvc://records/link/")
    (root / "dog").symlink_to(outside / "secret")
    with pytest.raises(DataError, match="pvc://records/images/dog is a link"):
        read("pvc://records/images/")
    (root / "dog").unlink()
    (root / "cat" / "link.png").symlink_to(outside / "secret" / "000.png")
    with pytest.raises(DataError, match=r"pvc://records/images/cat/link\.png is a link"):
        read("pvc://records/images/")


def test_a_tilde_is_the_users_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    store = PrivateStore(tmp_path / "copies", None, {})
    party = Party("lab", tmp_path, store, FolderArtifactStore(tmp_path), base=tmp_path / "jobs")
    assert party.path("~/model") == tmp_path / "home" / "model"
    assert party.path("a~/model") == tmp_path / "jobs" / "a~" / "model"
    with pytest.raises(InputError, match="~nosuchuser/model names a home folder"):
        party.path("~nosuchuser/model")
