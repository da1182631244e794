"""`offsite logs` when the pods, the job or the cluster are gone."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from offsite.errors import InputError
from offsite.events import Done, Event, Log, Metric
from offsite.logs.kept import KeptLogs, LoggedJob
from offsite.logs.names import LogName
from offsite.store.artifact_store import ArtifactStore, BucketArtifactStore, FolderArtifactStore
from offsite.store.credentials import Credentials, write_credentials
from offsite.store.private_store import PrivateStore
from offsite.text import as_json
from offsite.wire import now
from offsite_cli.app import app
from offsite_cli.cluster.errors import ClusterError
from offsite_testing.api_server import ApiServer, api_server, kubeconfig, pod, released
from offsite_testing.foreign import HOSTILE, assert_harmless
from offsite_testing.minio_server import MinioServer, running_minio

pytestmark = pytest.mark.timeout(900)  # the first run builds the server

UID, NAME = "0a1b2c3d-0000-0000-0000-000000000000", "adapter"
AT = "2026-11-30T12:00:00.000+00:00"


def keep(artifacts: ArtifactStore, attempt: int, step: str, *events: Event, uid: str = UID) -> None:
    """Keep a log as a pod does."""
    job = LoggedJob(name=NAME, uid=uid, stage="Tune", since=now())
    KeptLogs(artifacts, uid).describe(job)
    lines = "".join(f"{as_json({'at': AT, **event.wire()})}\n" for event in events)
    name = LogName.new(attempt, step).chunk(0)
    artifacts.write(f"logs/{uid}/{name}", lines.encode())


def logs(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["logs", NAME, *arguments], catch_exceptions=False)


@pytest.fixture
def store(tmp_path: Path) -> FolderArtifactStore:
    """The private store on a claim, where it is mounted; with the logs of a job."""
    artifacts = FolderArtifactStore(tmp_path / "private")
    keep(artifacts, 1, "Open", Log(message="opened"), Done())
    keep(artifacts, 1, "Work", Log(message=HOSTILE), Log(message="trained"))
    metric = Metric(name="perplexity", setting="emulator_tuned", value=2.0)
    keep(artifacts, 2, "Work", Log(message="resumed"), metric, Done())
    return artifacts


def test_logs_are_shown_without_a_cluster(store: FolderArtifactStore) -> None:
    private = ("--private", store.root.as_uri())
    whole = logs(*private)
    assert_harmless(whole.output)
    shown = [line for line in whole.stdout.splitlines() if "x1b" not in line]
    assert [*shown[:2], *shown[-4:]] == [
        *("opened", "done"),
        *("trained", "resumed", "emulator_tuned: perplexity 2", "done"),
    ]
    assert "attempt 2, work: kept since" in whole.stderr
    last = logs(*private, "--attempt", "2", "--tail", "2", "-o", "json").stdout.splitlines()
    assert [json.loads(line)["event"] for line in last] == ["metric", "done"]
    place = {"name": None, "attempt": 2, "step": "work"}
    assert json.loads(last[1]) == {**Done().wire(), "at": AT, "pod": place}


def test_the_newest_job_of_a_name_is_shown(store: FolderArtifactStore) -> None:
    path = store.root / "logs/newer"
    keep(store, 1, "Open", Log(message="newer"), uid="newer")
    job = json.loads((path / "job.json").read_text())
    (path / "job.json").write_text(json.dumps({**job, "since": "2030-01-01T00:00:00Z"}))
    shown = logs("--private", store.root.as_uri())
    assert shown.stdout == "newer\n"
    assert "2 jobs had the name adapter; this is the newest, newer" in shown.stderr


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        ("lab/offsite", "is not the address of a private store"),
        ("file:///nowhere", "there is no folder /nowhere; set --private"),
    ],
)
def test_a_wrong_address_is_reported(place: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        logs("--private", place)


def test_a_job_without_logs_is_reported(store: FolderArtifactStore) -> None:
    with pytest.raises(InputError, match="no logs of attempt 9 of adapter"):
        logs("--private", store.root.as_uri(), "--attempt", "9")
    with pytest.raises(InputError, match="no logs of a job other"):
        CliRunner().invoke(
            app, ["logs", "other", "--private", store.root.as_uri()], catch_exceptions=False
        )


@pytest.fixture(scope="module")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    with running_minio(tmp_path_factory.mktemp("minio")) as made:
        made.root().make_bucket("lab")
        yield made


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """A namespace with a job, whose pods are gone, and a Helm release."""
    with api_server() as server:
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path, server)))
        released(server, NAME, UID)
        yield server


@pytest.fixture
def bucket(tmp_path: Path, minio: MinioServer, monkeypatch: pytest.MonkeyPatch) -> ArtifactStore:
    """The private store in S3; the environment is that of a user who may read it."""
    account = tmp_path / "account.json"
    write_credentials(account, Credentials(minio.user, minio.password))
    known = {
        "OFFSITE_PRIVATE_ENDPOINT": minio.endpoint,
        "OFFSITE_PRIVATE_CREDENTIALS": str(account),
    }
    for name, value in known.items():
        monkeypatch.setenv(name, value)
    return BucketArtifactStore(PrivateStore(tmp_path / "copies", None, known), "s3://lab/offsite")


def test_logs_of_gone_pods_are_shown_before_those_of_pods(
    cluster: ApiServer, bucket: ArtifactStore
) -> None:
    keep(bucket, 1, "Open", Log(message="opened"))
    keep(bucket, 1, "Work", Log(message="trained"))
    assert logs().stdout == "opened\ntrained\n"
    cluster.items["pods"] = [pod(1, "work")]
    cluster.logs["pod-1"] = "2026-01-01T00:00:00.000000001Z a line\n"
    assert logs().stdout == "opened\na line\n"
    bucket.remove(f"logs/{UID}")


def test_where_the_logs_are_is_said(cluster: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OFFSITE_PRIVATE_CREDENTIALS", raising=False)
    with pytest.raises(ClusterError, match=r"kept in s3://lab/offsite; set OFFSITE_PRIVATE_ENDP"):
        logs()
    released(cluster, NAME, UID, "pvc://models/offsite")
    with pytest.raises(ClusterError, match=r"offsite logs adapter --private file:///FOLDER"):
        logs()


def test_a_store_that_fails_hides_no_pod(
    cluster: ApiServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    account = tmp_path / "account.json"
    write_credentials(account, Credentials("nobody", "nothing-at-all"))
    monkeypatch.setenv("OFFSITE_PRIVATE_ENDPOINT", cluster.url)
    monkeypatch.setenv("OFFSITE_PRIVATE_CREDENTIALS", str(account))
    cluster.items["pods"] = [pod(1, "work")]
    cluster.logs["pod-1"] = ""
    assert "cannot read the logs that are kept in s3://lab/offsite" in logs().stderr
