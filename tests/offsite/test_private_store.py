"""A party's private store on a real MinIO: copies of what is there, and what is written to it."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from offsite.errors import InputError, InterruptedStage, NotAllowedError, StorageError
from offsite.store import FolderStore
from offsite.store.credentials import Credentials, write_credentials
from offsite.store.private_store import PrivateStore
from offsite.store.s3 import S3Store
from offsite_testing.minio_server import MinioServer, running_minio

pytestmark = pytest.mark.timeout(900)  # the first run builds the server

PIECE = 64 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    """A server with a bucket of models."""
    with running_minio(tmp_path_factory.mktemp("minio")) as made:
        made.root().make_bucket("models")
        yield made


@pytest.fixture
def store(server: MinioServer) -> S3Store:
    return server.store("models")


@pytest.fixture
def environ(server: MinioServer, tmp_path: Path) -> dict[str, str]:
    write_credentials(tmp_path / "keys.json", Credentials(server.user, server.password))
    return {
        "OFFSITE_PRIVATE_ENDPOINT": server.endpoint,
        "OFFSITE_PRIVATE_CREDENTIALS": str(tmp_path / "keys.json"),
    }


@pytest.fixture
def private_store(environ: dict[str, str], tmp_path: Path) -> PrivateStore:
    return PrivateStore(tmp_path / "copies", FolderStore(tmp_path / "exchange"), environ)


def test_a_copy_is_made_once_and_again_when_the_file_has_changed(
    store: S3Store, private_store: PrivateStore
) -> None:
    store.put("texts/a b/train.jsonl", b"one")
    path = private_store.file("s3://models/texts/a b/train.jsonl")
    assert (path.name, path.read_bytes()) == ("train.jsonl", b"one")
    path.write_bytes(b"own")  # as large as the copy was, so it is taken for it
    assert private_store.file("s3://models/texts/a b/train.jsonl").read_bytes() == b"own"
    store.put("texts/a b/train.jsonl", b"two")
    assert private_store.file("s3://models/texts/a b/train.jsonl").read_bytes() == b"two"


def test_a_file_larger_than_a_chunk_is_copied_completely(
    server: MinioServer, private_store: PrivateStore
) -> None:
    content = bytes(range(256)) * (PIECE // 256) + b"and more"
    path = private_store.copies.parent / "large"
    path.write_bytes(content)
    server.root().fput_object("models", "large/x", str(path), part_size=16 << 20)
    assert private_store.file("s3://models/large/x").read_bytes() == content


def test_a_file_that_changes_while_it_is_read_is_told(store: S3Store) -> None:
    store.put("moving/x", b"one")
    etag = store.client().stat_object("models", "moving/x").etag
    assert etag is not None
    assert store.get_piece("moving/x", 1, 9, etag) == b"ne"
    store.put("moving/x", b"two")
    with pytest.raises(StorageError, match="PreconditionFailed"):
        store.get_piece("moving/x", 1, 9, etag)


def test_a_model_is_the_files_that_match(store: S3Store, private_store: PrivateStore) -> None:
    for name in ("config.json", "model.safetensors", "train.py", "deeper/config.json"):
        store.put(f"tiny/{name}", name.encode())
    patterns = ("*.json", "*.safetensors")
    folder = private_store.folder("s3://models/tiny/", patterns)
    shown = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    assert shown == {"config.json", "model.safetensors"}
    store.delete(["tiny/model.safetensors"])
    store.put("tiny/other.safetensors", b"")
    assert private_store.folder("s3://models/tiny", patterns) == folder
    assert not (folder / "model.safetensors").exists()
    assert (folder / "other.safetensors").exists()


def test_a_folder_of_images_is_a_tree(store: S3Store, private_store: PrivateStore) -> None:
    for name in ("cat/1.png", "cat/2.png", "dog"):
        store.put(f"images/{name}", name.encode())
    store.client().put_object("models", "images/empty/", io.BytesIO(), 0)  # as a console makes
    folder = private_store.tree("s3://models/images/")
    (folder / "cat" / "own.png").write_bytes(b"x")
    (folder / "link").symlink_to("/etc")
    store.delete(["images/cat/2.png", "images/dog"])
    store.put("images/dog/1.png", b"dog/1.png")  # a folder, where a file was
    assert private_store.tree("s3://models/images/") == folder
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    assert set(found) == {"cat/1.png", "dog/1.png"}
    assert all(path.read_bytes() == name.encode() for name, path in found.items())
    assert not (folder / "link").is_symlink()


def test_files_of_a_tree_are_copied_alone(store: S3Store, private_store: PrivateStore) -> None:
    for name in ("a/1.png", "a/2.png", "b/1.png"):
        store.put(f"listed/{name}", name.encode())
    private_store.files("s3://models/listed/", ["b/1.png", "a/2.png", "none.png"])
    folder = private_store.copies / "models/listed"
    assert sorted(str(p.relative_to(folder)) for p in folder.rglob("*.png")) == [
        "a/2.png",
        "b/1.png",
    ]


def test_a_tree_is_bounded(
    store: S3Store, private_store: PrivateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        store.put(f"many/{number}.png", b"x")
    monkeypatch.setattr("offsite.store.copies.MAX_FILES", 2)
    with pytest.raises(InputError, match="has more than 2 files"):
        private_store.tree("s3://models/many/")
    with pytest.raises(InputError, match="there are no files at s3://models/nothing/"):
        private_store.tree("s3://models/nothing/")


def test_the_beginning_of_a_file_is_read(store: S3Store, private_store: PrivateStore) -> None:
    store.put("lines/a.jsonl", b"one\ntwo")
    store.put("lines/b.jsonl", b"")
    assert private_store.head("s3://models/lines/a.jsonl", 3) == b"one"
    assert private_store.head("s3://models/lines/b.jsonl", 3) == b""
    with pytest.raises(InputError, match=r"there is no s3://models/lines/c\.jsonl"):
        private_store.head("s3://models/lines/c.jsonl", 3)


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("s3://models/nothing", "there is no s3://models/nothing"),
        ("s3://nowhere/x", "there is no bucket nowhere"),
        ("s3://models", "use s3://bucket/path"),
        ("s3://models/../x", "use s3://bucket/path"),
        ("s3://models/a//x", "use s3://bucket/path"),
        ("s3://M/x", "'s3://M'"),
    ],
)
def test_what_is_not_there_is_told(private_store: PrivateStore, uri: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        private_store.file(uri)


def test_an_empty_prefix_is_told(private_store: PrivateStore) -> None:
    with pytest.raises(InputError, match="s3://models/empty"):
        private_store.folder("s3://models/empty", ("*",))


def test_it_is_not_the_exchange(store: S3Store, environ: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the same place"):
        PrivateStore(tmp_path, store, environ).file("s3://models/x")


def test_what_is_missing_or_wrong_is_named(environ: dict[str, str], tmp_path: Path) -> None:
    nowhere = FolderStore(tmp_path / "exchange")
    with pytest.raises(InputError, match="OFFSITE_PRIVATE_ENDPOINT and OFFSITE_PRIVATE_CRED"):
        PrivateStore(tmp_path, nowhere, {}).file("s3://models/x")
    (tmp_path / "keys.json").write_text(json.dumps({"accessKey": "nobody", "secretKey": "x" * 9}))
    with pytest.raises(NotAllowedError, match="OFFSITE_PRIVATE_CREDENTIALS"):
        PrivateStore(tmp_path, nowhere, environ).sizes("s3://models/x")


def test_a_folder_is_written_and_its_seal_last(
    store: S3Store, private_store: PrivateStore, tmp_path: Path
) -> None:
    folder = tmp_path / "plugged"
    folder.mkdir()
    for name in ("a", "m", "z"):
        (folder / name).write_bytes(name.encode())
    told: list[dict[str, int]] = []

    def done() -> None:
        told.append(private_store.sizes("s3://models/out"))
        if len(told) == 2:
            raise InterruptedStage("as on a signal")

    with pytest.raises(InterruptedStage):
        private_store.put_folder(folder, "s3://models/out", "m", done)
    assert [sorted(each) for each in told] == [["a"], ["a", "z"]]
    private_store.put_folder(folder, "s3://models/out", "m", lambda: None)
    assert private_store.sizes("s3://models/out") == {"a": 1, "m": 1, "z": 1}
    assert store.get("out/m", 1) == b"m"
