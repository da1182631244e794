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

from offsite.store.cabinet import Cabinet, FolderCabinet, cabinet_of
from offsite.store.credentials import Credentials, write_credentials
from offsite.store.library import Library
from offsite_testing.minio_server import MinioServer, running_minio

pytestmark = pytest.mark.timeout(900)  # the first run builds the server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    with running_minio(tmp_path_factory.mktemp("minio")) as made:
        made.root().make_bucket("lab")
        yield made


@pytest.fixture(params=["folder", "bucket"])
def cabinet(request: pytest.FixtureRequest, tmp_path: Path) -> Cabinet:
    """A cabinet of each kind; the second time that it is opened, by another pod."""
    library = Library(tmp_path / "copies", None, {})
    if request.param == "folder":
        return cabinet_of((tmp_path / "private").as_uri(), library)
    server: MinioServer = request.getfixturevalue("server")
    write_credentials(tmp_path / "keys.json", Credentials(server.user, server.password))
    environ = {
        "OFFSITE_PRIVATE_ENDPOINT": server.endpoint,
        "OFFSITE_PRIVATE_CREDENTIALS": str(tmp_path / "keys.json"),
    }
    return cabinet_of(f"s3://lab/{tmp_path.name}", Library(tmp_path / "copies", None, environ))


def put(cabinet: Cabinet, folder: Path, **files: bytes) -> list[None]:
    """Keep a folder of files as `work/result`, whose `z` is written last."""
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    told = list[None]()
    cabinet.put(folder, "work/result", "z", lambda: told.append(None))
    return told


def content(folder: Path | None) -> dict[str, bytes]:
    assert folder is not None
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_note_is_read_as_it_was_written(cabinet: Cabinet) -> None:
    assert cabinet.read("records/a.json") is None
    cabinet.write("records/a.json", b"one")
    cabinet.write("records/a.json", b"two")
    assert cabinet.read("records/a.json") == b"two"


def test_notes_are_listed_by_their_folder(cabinet: Cabinet) -> None:
    assert cabinet.names("journal") == []
    for name in ("journal/b", "journal/a", "journal/deeper/c", "journals/d"):
        cabinet.write(name, b"")
    assert sorted(cabinet.names("journal")) == ["a", "b"]


def test_a_folder_holds_what_was_put_and_nothing_else(cabinet: Cabinet, tmp_path: Path) -> None:
    assert cabinet.folder("work/result", "z") is None
    assert len(put(cabinet, tmp_path / "one", a=b"1", z=b"2")) == 2
    assert content(cabinet.folder("work/result", "z")) == {"a": b"1", "z": b"2"}


def test_a_folder_that_lacks_its_last_file_is_none(cabinet: Cabinet, tmp_path: Path) -> None:
    put(cabinet, tmp_path / "one", a=b"1")
    assert cabinet.folder("work/result", "z") is None


def test_what_is_put_again_is_what_is_there(cabinet: Cabinet, tmp_path: Path) -> None:
    put(cabinet, tmp_path / "one", a=b"1", z=b"2")
    cabinet.folder("work/result", "z")
    put(cabinet, tmp_path / "two", a=b"3", z=b"2")
    assert content(cabinet.folder("work/result", "z")) == {"a": b"3", "z": b"2"}


def test_what_is_removed_is_gone_with_all_below_it(cabinet: Cabinet, tmp_path: Path) -> None:
    put(cabinet, tmp_path / "one", a=b"1", z=b"2")
    cabinet.write("work/note", b"x")
    cabinet.write("records/a.json", b"stays")
    cabinet.remove("work")
    assert (cabinet.folder("work/result", "z"), cabinet.read("work/note")) == (None, None)
    assert cabinet.read("records/a.json") == b"stays"
    cabinet.remove("work")


def test_folders_in_which_nothing_was_written_are_known(cabinet: Cabinet, tmp_path: Path) -> None:
    assert cabinet.idle("work", datetime.now(UTC)) == []
    put(cabinet, tmp_path / "one", z=b"2")
    cabinet.write("work/other/notes/attempt", b"x")
    hour = timedelta(hours=1)
    assert cabinet.idle("work", datetime.now(UTC) - hour) == []
    assert sorted(cabinet.idle("work", datetime.now(UTC) + hour)) == ["other", "result"]


def test_a_place_is_named(tmp_path: Path) -> None:
    assert FolderCabinet(tmp_path).uri("records") == str(tmp_path / "records")


def test_a_note_is_added_once(cabinet: Cabinet) -> None:
    assert cabinet.add("disclosed/000001.json", b"one")
    assert not cabinet.add("disclosed/000001.json", b"two")
    assert cabinet.read("disclosed/000001.json") == b"one"
    assert cabinet.names("disclosed") == ["000001.json"]


@pytest.mark.parametrize("refusal", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_note_is_added_once_where_there_are_no_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: int
) -> None:
    """As on SMB shares and many FUSE mounts."""

    def link(*_args: Any, **_options: Any) -> None:
        raise OSError(refusal, os.strerror(refusal))

    monkeypatch.setattr(os, "link", link)
    cabinet = FolderCabinet(tmp_path)
    assert cabinet.add("disclosed/000001.json", b"one")
    assert not cabinet.add("disclosed/000001.json", b"two")
    assert cabinet.read("disclosed/000001.json") == b"one"
    assert [path.name for path in (tmp_path / "disclosed").iterdir()] == ["000001.json"]


def test_of_many_who_add_a_note_one_does(cabinet: Cabinet) -> None:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(4, mp_context=spawn) as pool:
        told = list(pool.map(partial(_add, cabinet), range(12)))
    assert [number for number, is_new in enumerate(told) if is_new] == [
        int(cabinet.read("disclosed/000001.json") or b"")
    ]


def _add(cabinet: Cabinet, number: int) -> bool:
    return cabinet.add("disclosed/000001.json", str(number).encode())
