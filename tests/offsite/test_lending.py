"""What a step that trains may do in a private S3 store, on a real MinIO: what is its job's."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from offsite.__main__ import main
from offsite.config import load_job
from offsite.errors import DataError, InputError, NotAllowedError, OffsiteError, StorageError
from offsite.steps.party import Party
from offsite.steps.places import MODEL_FILES
from offsite.store.artifact_store import ArtifactStore, FolderArtifactStore, artifact_store_of
from offsite.store.credentials import Credentials, read_credentials, write_credentials
from offsite.store.open import s3_store
from offsite.store.own import provide
from offsite.store.private_store import PrivateStore
from offsite.store.sessions import Part, lend, session_policy
from offsite.task import WorkTask, write_task
from offsite_testing.minio_server import MinioServer, running_minio
from offsite_testing.parties import HEAD

pytestmark = pytest.mark.timeout(900)  # the first run builds the server

HOME = "s3://lab/own/offsite"
SPEC = {
    "stage": "Distill",
    "peer": "hospital",
    "distill": {
        "model": "s3://lab/models/one",
        "emulator": {"blocks": 2, "calibration": "s3://lab/texts/a.txt"},
        "training": {"corpus": "s3://lab/images/"},
        "evaluate": "s3://others/eval.jsonl",
    },
}


@dataclass(frozen=True)
class Lent:
    """A party's own store, as the container that trains has it."""

    environ: dict[str, str]
    folder: Path

    @property
    def private_store(self) -> PrivateStore:
        return PrivateStore(self.folder / "copies", None, self.environ)

    @property
    def artifacts(self) -> ArtifactStore:
        return artifact_store_of(HOME, self.private_store)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    with running_minio(tmp_path_factory.mktemp("minio")) as made:
        made.root().make_bucket("others")
        for bucket, key in (
            *(("lab", f"models/one/{name}") for name in ("config.json", "model.safetensors")),
            *(("lab", key) for key in ("models/one2/config.json", "texts/a.txt", "texts/a.txt2")),
            *(("lab", f"own/offsite/{key}") for key in ("records/1.json", "work/other/x")),
            *(("lab", f"own/offsite/{key}") for key in ("kept/uid-1/envelope", "work/uid-12/x")),
            *(("lab", f"images/{key}") for key in ("cat/1.png", "dog/1.png")),
            *(("others", key) for key in ("eval.jsonl", "secret")),
            *(("others", f"listed/{key}") for key in ("a.png", "b.png")),
        ):
            if not made.root().bucket_exists(bucket):
                made.root().make_bucket(bucket)
            made.store(bucket).put(key, key.encode())
        made.store("others").put(
            "listed/lines.jsonl", b'{"image": "a.png"}\n{"image": "../secret"}'
        )
        made.store("others").put("listed/good.jsonl", b'{"image": "a.png"}')
        yield made


def environ_of(server: MinioServer, keys: Path) -> dict[str, str]:
    return {
        "OFFSITE_PRIVATE_ENDPOINT": server.endpoint,
        "OFFSITE_PRIVATE_CREDENTIALS": str(keys),
    }


def task_file(folder: Path, **spec: object) -> Path:
    job = folder / "job.json"
    job.write_text(json.dumps({**HEAD, "metadata": {"name": "emulator"}, "spec": SPEC | spec}))
    task = WorkTask(
        uid="uid-1",
        party="lab",
        peer_id="hospital",
        private=HOME,
        job=load_job(job),
    )
    (folder / "task.json").write_text(write_task(task))
    return folder / "task.json"


def account(server: MinioServer, folder: Path) -> Path:
    """Make keys that may use both buckets, as an organization's account may."""
    write_credentials(folder / "account.json", Credentials(server.user, server.password))
    return folder / "account.json"


def lending(environ: dict[str, str], task: Path, to: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run the init container."""
    to.mkdir(exist_ok=True)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.argv", ["offsite", "lend", "--task", str(task), "--to", str(to)])
    return main()


@pytest.fixture
def lent(server: MinioServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lent:
    environ = environ_of(server, account(server, tmp_path))
    assert lending(environ, task_file(tmp_path), tmp_path / "session", monkeypatch) == 0
    keys = tmp_path / "session/credentials.json"
    assert read_credentials(keys).access_key != server.user
    return Lent(environ_of(server, keys), tmp_path)


def test_the_work_reads_what_its_job_reads(lent: Lent) -> None:
    private_store = lent.private_store
    model = private_store.folder("s3://lab/models/one", MODEL_FILES)
    assert {path.name for path in model.iterdir()} == {"config.json", "model.safetensors"}
    assert private_store.file("s3://lab/texts/a.txt").read_bytes() == b"texts/a.txt"
    assert private_store.file("s3://others/eval.jsonl").read_bytes() == b"eval.jsonl"


def test_the_work_has_the_folder_of_its_job(lent: Lent) -> None:
    artifacts, made = lent.artifacts, lent.folder / "made"
    assert artifacts.read("work/uid-1/notes/attempt") is None
    made.mkdir()
    (made / "large").write_bytes(bytes(70 << 20))  # in parts
    (made / "last").write_bytes(b"x")
    artifacts.put(made, "work/uid-1/result", "last", lambda: None)
    artifacts.write("work/uid-1/notes/attempt", b"1")
    assert artifacts.read("work/uid-1/notes/attempt") == b"1"
    assert artifacts.folder("work/uid-1/result", "last") is not None
    assert artifacts.names("work/uid-1/notes") == ["attempt"]
    artifacts.remove("work/uid-1/notes")
    assert artifacts.read("work/uid-1/notes/attempt") is None


def test_the_work_reads_folders_of_images_and_what_lines_name(
    server: MinioServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"evaluate": "s3://others/listed/good.jsonl"}
    spec = {"distill": SPEC["distill"] | own}  # type: ignore[operator]
    environ = environ_of(server, account(server, tmp_path))
    assert lending(environ, task_file(tmp_path, **spec), tmp_path / "session", monkeypatch) == 0
    keys = tmp_path / "session/credentials.json"
    private_store = PrivateStore(tmp_path / "copies", None, environ_of(server, keys))
    party = Party("lab", tmp_path, private_store, FolderArtifactStore(tmp_path))
    images = party.data("s3://lab/images/")
    assert {path.name for path in images.iterdir()} == {"cat", "dog"}
    lines = party.data("s3://others/listed/good.jsonl")
    assert {path.name for path in lines.parent.iterdir()} == {"good.jsonl", "a.png"}
    with pytest.raises(DataError, match=r"lines\.jsonl:2: the image '\.\./secret' is not a path"):
        party.data("s3://others/listed/lines.jsonl")
    for place in ("s3://others/secret", "s3://lab/texts/a.txt2"):
        with pytest.raises(OffsiteError):
            private_store.read(place, 9)


REFUSED: dict[str, Callable[[Lent], object]] = {
    "reads a record": lambda lent: lent.artifacts.read("records/1.json"),
    "reads what is kept": lambda lent: lent.artifacts.read("kept/uid-1/envelope"),
    "reads another job's": lambda lent: lent.artifacts.read("work/other/x"),
    "reads a job's whose name begins so": lambda lent: lent.artifacts.read("work/uid-12/x"),
    "lists the store": lambda lent: lent.private_store.sizes("s3://lab/own"),
    "lists all jobs": lambda lent: lent.artifacts.names("work"),
    "lists other texts": lambda lent: lent.private_store.sizes("s3://lab/texts"),
    "reads a text whose name begins so": lambda lent: lent.private_store.read(
        "s3://lab/texts/a.txt2", 9
    ),
    "reads another model": lambda lent: lent.private_store.read(
        "s3://lab/models/one2/config.json", 99
    ),
    "reads beside images": lambda lent: lent.private_store.read("s3://others/listed/a.png", 9),
    "writes an image": lambda lent: lent.private_store.write("s3://lab/images/cat/1.png", b"x"),
    "reads beside a text": lambda lent: lent.private_store.read("s3://others/secret", 9),
    "writes into the model": lambda lent: lent.private_store.write("s3://lab/models/one/x", b"x"),
    "writes a text": lambda lent: lent.private_store.write("s3://lab/texts/a.txt", b"x"),
    "writes a record": lambda lent: lent.artifacts.write("records/2.json", b"x"),
    "deletes another job's": lambda lent: s3_store(
        "s3://lab", "OFFSITE_PRIVATE", lent.environ
    ).delete(["own/offsite/work/other/x"]),
    "lends itself more": lambda lent: lend(
        s3_store("s3://lab", "OFFSITE_PRIVATE", lent.environ),
        session_policy([Part.of(HOME, folder=True, writes=True)]),
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_the_work_has_nothing_else_of_the_store(lent: Lent, server: MinioServer, what: str) -> None:
    with pytest.raises(OffsiteError):
        REFUSED[what](lent)
    store = server.store("lab")
    assert store.get("texts/a.txt", 99) == b"texts/a.txt"
    assert store.get("own/offsite/work/other/x", 99) == b"own/offsite/work/other/x"
    assert "own/offsite/records/2.json" not in store.sizes("own/offsite/records/")


def test_an_account_that_private_init_made_lends(
    server: MinioServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = tmp_path / "own.json"
    provide(server.store("mine"), keys)
    spec = {"distill": SPEC["distill"] | {"evaluate": None}}  # type: ignore[operator]
    environ, task = environ_of(server, keys), task_file(tmp_path, **spec)
    assert lending(environ, task, tmp_path / "session", monkeypatch) == 0


def test_who_may_not_lend_learns_it(
    server: MinioServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_credentials(tmp_path / "wrong.json", Credentials(server.user, "wrong-secret"))
    environ = environ_of(server, tmp_path / "wrong.json")
    assert lending(environ, task_file(tmp_path), tmp_path / "session", monkeypatch) == 4
    assert "private.sessions: false" in capsys.readouterr().err
    assert not any((tmp_path / "session").iterdir())


def test_a_name_that_means_more_in_a_policy_is_not_lent() -> None:
    for place in ("s3://lab/te*ts/a", "s3://lab/text?/a", "s3://lab/${aws:username}/a"):
        with pytest.raises(InputError, match="rename it"):
            Part.of(place, folder=False)


def test_a_session_that_has_ended_is_no_reason_to_give_up(server: MinioServer, lent: Lent) -> None:
    keys = read_credentials(Path(lent.environ["OFFSITE_PRIVATE_CREDENTIALS"]))
    over = Credentials(keys.access_key, keys.secret_key, f"{keys.session_token}x")
    write_credentials(lent.folder / "over.json", over)
    store = s3_store("s3://lab", "OFFSITE_PRIVATE", environ_of(server, lent.folder / "over.json"))
    with pytest.raises(StorageError, match="next attempt starts a new") as ended:
        store.get("texts/a.txt", 99)
    assert ended.value.retryable
    assert not isinstance(ended.value, NotAllowedError)
