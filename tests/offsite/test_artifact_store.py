"""What a party keeps in its private store, on a disk and in a real MinIO alike."""

import errno
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from offsite.store.artifact_store import ArtifactStore, FolderArtifactStore, artifact_store_of
from offsite.store.credentials import Credentials, write_credentials
from offsite.store.private_store import PrivateStore
from offsite_testing.minio_server import MinioServer, running_minio

pytestmark = pytest.mark.timeout(900)  # the first run builds the server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    with running_minio(tmp_path_factory.mktemp("minio")) as made:
        made.root().make_bucket("lab")
        yield made


@pytest.fixture(params=["folder", "bucket"])
def artifacts(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    """An artifact store of each kind; the second time that it is opened, by another pod."""
    private_store = PrivateStore(tmp_path / "copies", None, {})
    if request.param == "folder":
        return artifact_store_of((tmp_path / "private").as_uri(), private_store)
    server: MinioServer = request.getfixturevalue("server")
    write_credentials(tmp_path / "keys.json", Credentials(server.user, server.password))
    environ = {
        "OFFSITE_PRIVATE_ENDPOINT": server.endpoint,
        "OFFSITE_PRIVATE_CREDENTIALS": str(tmp_path / "keys.json"),
    }
    return artifact_store_of(
        f"s3://lab/{tmp_path.name}", PrivateStore(tmp_path / "copies", None, environ)
    )


def put(artifacts: ArtifactStore, folder: Path, **files: bytes) -> list[None]:
    """Keep a folder of files as `work/result`, whose `z` is written last."""
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    told = list[None]()
    artifacts.put(folder, "work/result", "z", lambda: told.append(None))
    return told


def content(folder: Path | None) -> dict[str, bytes]:
    assert folder is not None
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_note_is_read_as_it_was_written(artifacts: ArtifactStore) -> None:
    assert artifacts.read("records/a.json") is None
    artifacts.write("records/a.json", b"one")
    artifacts.write("records/a.json", b"two")
    assert artifacts.read("records/a.json") == b"two"


def test_notes_are_listed_by_their_folder(artifacts: ArtifactStore) -> None:
    assert artifacts.names("journal") == []
    for name in ("journal/b", "journal/a", "journal/deeper/c", "journals/d"):
        artifacts.write(name, b"")
    assert sorted(artifacts.names("journal")) == ["a", "b"]


def test_a_folder_holds_what_was_put_and_nothing_else(
    artifacts: ArtifactStore, tmp_path: Path
) -> None:
    assert artifacts.folder("work/result", "z") is None
    assert len(put(artifacts, tmp_path / "one", a=b"1", z=b"2")) == 2
    assert content(artifacts.folder("work/result", "z")) == {"a": b"1", "z": b"2"}


def test_a_folder_that_lacks_its_last_file_is_none(
    artifacts: ArtifactStore, tmp_path: Path
) -> None:
    put(artifacts, tmp_path / "one", a=b"1")
    assert artifacts.folder("work/result", "z") is None


def test_what_is_put_again_is_what_is_there(artifacts: ArtifactStore, tmp_path: Path) -> None:
    put(artifacts, tmp_path / "one", a=b"1", z=b"2")
    artifacts.folder("work/result", "z")
    put(artifacts, tmp_path / "two", a=b"3", z=b"2")
    assert content(artifacts.folder("work/result", "z")) == {"a": b"3", "z": b"2"}


def test_what_is_removed_is_gone_with_all_below_it(
    artifacts: ArtifactStore, tmp_path: Path
) -> None:
    put(artifacts, tmp_path / "one", a=b"1", z=b"2")
    artifacts.write("work/note", b"x")
    artifacts.write("records/a.json", b"stays")
    artifacts.remove("work")
    assert (artifacts.folder("work/result", "z"), artifacts.read("work/note")) == (None, None)
    assert artifacts.read("records/a.json") == b"stays"
    artifacts.remove("work")


def test_folders_in_which_nothing_was_written_are_known(
    artifacts: ArtifactStore, tmp_path: Path
) -> None:
    assert artifacts.idle("work", datetime.now(UTC)) == []
    put(artifacts, tmp_path / "one", z=b"2")
    artifacts.write("work/other/notes/attempt", b"x")
    hour = timedelta(hours=1)
    assert artifacts.idle("work", datetime.now(UTC) - hour) == []
    assert sorted(artifacts.idle("work", datetime.now(UTC) + hour)) == ["other", "result"]


def test_a_place_is_named(tmp_path: Path) -> None:
    assert FolderArtifactStore(tmp_path).uri("records") == str(tmp_path / "records")


def test_a_note_is_added_once(artifacts: ArtifactStore) -> None:
    assert artifacts.add("disclosed/000001.json", b"one")
    assert not artifacts.add("disclosed/000001.json", b"two")
    assert artifacts.read("disclosed/000001.json") == b"one"
    assert artifacts.names("disclosed") == ["000001.json"]


@pytest.mark.parametrize("refusal", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_note_is_added_once_where_there_are_no_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: int
) -> None:
    """As on SMB shares and many FUSE mounts."""

    def link(*_args: Any, **_options: Any) -> None:
        raise OSError(refusal, os.strerror(refusal))

    monkeypatch.setattr(os, "link", link)
    artifacts = FolderArtifactStore(tmp_path)
    assert artifacts.add("disclosed/000001.json", b"one")
    assert not artifacts.add("disclosed/000001.json", b"two")
    assert artifacts.read("disclosed/000001.json") == b"one"
    assert [path.name for path in (tmp_path / "disclosed").iterdir()] == ["000001.json"]


def test_of_many_who_add_a_note_one_does(artifacts: ArtifactStore) -> None:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(4, mp_context=spawn) as pool:
        told = list(pool.map(partial(_add, artifacts), range(12)))
    assert [number for number, is_new in enumerate(told) if is_new] == [
        int(artifacts.read("disclosed/000001.json") or b"")
    ]


def _add(artifacts: ArtifactStore, number: int) -> bool:
    return artifacts.add("disclosed/000001.json", str(number).encode())
