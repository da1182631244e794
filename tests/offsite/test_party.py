"""Where the things of a party lie, as its pods see them."""

from pathlib import Path

import pytest

from offsite.config import load_job
from offsite.errors import InputError
from offsite.steps.pod import Pod
from offsite.task import WorkTask
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
