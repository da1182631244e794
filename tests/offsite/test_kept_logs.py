"""Logs that outlive the pods: what a pod keeps of its own log, however it ends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cluster.processes import wait_for
from offsite.events import MARK, Done, Event, Log, Progress, as_line, new_mark
from offsite.logs.chunks import ChunkWriter
from offsite.logs.kept import JOB, KeptLogs, LoggedJob, forget, logged_jobs
from offsite.logs.lines import LineFilter, parse_kept
from offsite.logs.names import (
    FIRST_CHUNKS,
    LAST_CHUNKS,
    LONGEST_CHUNK,
    MOST_LOGS,
    LogName,
    keep_newest,
    logs_in,
)
from offsite.logs.redaction import Redaction, redaction_of
from offsite.store.artifact_store import ArtifactStore, BucketArtifactStore, FolderArtifactStore
from offsite.store.credentials import Credentials, write_credentials
from offsite.store.private_store import PrivateStore
from offsite.task import Jobs
from offsite.wire import now
from offsite_testing.minio_server import MinioServer, running_minio

pytestmark = pytest.mark.timeout(900)  # the first run builds the server

UID = "uid-1"
STEP = """
import os, signal, sys, time
from offsite.logs.supervisor import end_with_parent
end_with_parent()
print("first", flush=True)
keys = open(os.environ["OFFSITE_X_CREDENTIALS"]).read()
print(os.environ["OFFSITE_EVENT_MARK"], keys, flush=True)
print("warned", file=sys.stderr, flush=True)
{ending}
"""
RUN = """
import os, sys
from pathlib import Path
from offsite.logs.chunks import ChunkWriter
from offsite.logs.keeper import Keeper
from offsite.logs.names import LogName
from offsite.logs.supervisor import supervise
from offsite.store.artifact_store import FolderArtifactStore
def begin():
    store = FolderArtifactStore(Path(sys.argv[1]))
    return Keeper(os.environ, ChunkWriter(lambda: store, "logs/uid-1", LogName.new(3, "Work"), 0.1))
sys.exit(supervise([sys.executable, "-c", sys.argv[2]], begin))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    with running_minio(tmp_path_factory.mktemp("minio")) as made:
        made.root().make_bucket("private")
        yield made


@pytest.fixture(params=["folder", "bucket"])
def artifacts(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    """A private store of each kind."""
    if request.param == "folder":
        return FolderArtifactStore(tmp_path / "private")
    server: MinioServer = request.getfixturevalue("server")
    account = tmp_path / "account.json"
    write_credentials(account, Credentials(server.user, server.password))
    known = {"ENDPOINT": server.endpoint, "CREDENTIALS": str(account)}
    environ = {f"OFFSITE_PRIVATE_{name}": value for name, value in known.items()}
    store = PrivateStore(tmp_path / "copies", None, environ)
    return BucketArtifactStore(store, f"s3://private/{tmp_path.name}")


def running(folder: Path, ending: str) -> subprocess.Popen[str]:
    """Start a step that prints a few lines, its secrets among them, and ends in some way."""
    write_credentials(folder / "account.json", Credentials("reader", "very-secret-key"))
    known = {MARK: "0123456789abcdef", "OFFSITE_X_CREDENTIALS": str(folder / "account.json")}
    command = [sys.executable, "-c", RUN, str(folder / "private"), STEP.format(ending=ending)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=os.environ | known, stdout=pipe, stderr=pipe, text=True)


def messages(artifacts: ArtifactStore) -> list[str]:
    """Read the messages of the only kept log."""
    (log,) = KeptLogs(artifacts, UID).list()
    events = [line.event for line in KeptLogs(artifacts, UID).lines(log)]
    return [event.message for event in events if isinstance(event, Log)]


@pytest.mark.parametrize(
    ("ending", "code", "last"),
    [
        ("sys.exit(7)", 7, []),
        ("os.kill(os.getpid(), 9)", 137, ["offsite: the process was ended by SIGKILL"]),
        ("import ctypes; ctypes.string_at(0)", 139, ["offsite: the process was ended by SIGSEGV"]),
        ("sys.stdout.write('no end of a line')", 0, ["no end of a line"]),
    ],
    ids=["fails", "is killed", "crashes", "ends in a line"],
)
def test_a_log_is_kept_however_the_step_ends(
    tmp_path: Path, ending: str, code: int, last: list[str]
) -> None:
    with running(tmp_path, ending) as process:
        output, errors = process.communicate()
    assert process.returncode == code
    assert output.startswith("first\n0123456789abcdef {")
    assert errors.startswith("warned\n")
    found = messages(FolderArtifactStore(tmp_path / "private"))
    secret = '*** {"accessKey": "reader", "secretKey": "***"}'
    assert sorted(found) == sorted(["first", secret, "", "warned", *last])


def test_the_log_of_a_pod_that_is_killed_is_kept_and_its_step_ends(tmp_path: Path) -> None:
    ending = "print(os.getpid(), flush=True); time.sleep(600)"
    with running(tmp_path, ending) as process:
        assert process.stdout is not None
        *_, pid = (process.stdout.readline() for _ in range(4))
        artifacts = FolderArtifactStore(tmp_path / "private")
        while not artifacts.names(f"logs/{UID}") or pid.strip() not in messages(artifacts):
            assert process.poll() is None
        process.kill()
    assert "first" in messages(artifacts)
    wait_for(lambda: not is_running(pid.strip()), 60)


def is_running(pid: str) -> bool:
    """Whether a process runs; one that has ended may stay until its parent reads its exit code."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_a_signal_reaches_the_step_once(tmp_path: Path) -> None:
    ending = """
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append("stopping"))
print("ready", flush=True)
while not told:
    time.sleep(0.01)
time.sleep(0.3)
print(*told, flush=True)
"""
    with running(tmp_path, ending) as process:
        assert process.stdout is not None
        while process.stdout.readline() != "ready\n":
            pass
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "stopping\n"
    assert process.returncode == 0


def test_a_store_that_fails_does_not_fail_the_step(tmp_path: Path) -> None:
    (tmp_path / "private").write_text("not a folder")
    with running(tmp_path, "sys.exit(0)") as process:
        _, errors = process.communicate()
    assert process.returncode == 0
    assert "offsite: could not keep all of this log: " in errors


def test_a_long_log_keeps_its_beginning_and_its_end(artifacts: ArtifactStore) -> None:
    writer = ChunkWriter(lambda: artifacts, f"logs/{UID}", LogName.new(1, "Open"), 0.01)
    line = b'{"event": "log", "message": "%06d %s"}'
    count = 24 * LONGEST_CHUNK // 50_000
    for number in range(count):
        writer.add(line % (number, b"x" * 50_000))
    assert writer.close(60) == ""
    (log,) = KeptLogs(artifacts, UID).list()
    assert len(log.paths) == FIRST_CHUNKS + LAST_CHUNKS
    numbers = [int(message[:6]) for message in messages(artifacts)]
    assert (numbers[0], numbers[-1]) == (0, count - 1)
    assert len(numbers) < count * 3 / 4


def test_progress_is_thinned_and_marks_are_left_out() -> None:
    mark = new_mark()
    lines = LineFilter(mark, Redaction(frozenset({mark})))
    events: list[Event] = [
        *(Progress(phase="tune", step=step, total_steps=9) for step in range(1, 10)),
        Done(),
    ]
    kept = [lines.line(as_line(event, mark).encode()) for event in events]
    found = [parse_kept(line) for line in kept if line is not None]
    assert [line.event for line in found] == [events[0], *events[-2:]]
    assert all(line.at is not None for line in found)
    forged = lines.line(b'offsite-event {"event": "done"}')
    assert forged is not None
    assert parse_kept(forged).event == Log(message='offsite-event {"event": "done"}')


def test_secrets_of_a_pod_are_redacted(tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_text("correct horse\n")
    (tmp_path / "ring.json").write_text(
        json.dumps({"id": "lab", "keys": [{"private": "AAAABBBB"}]})
    )
    known = {"OFFSITE_PASSPHRASE_FILE": str(tmp_path / "passphrase"), "HOME": "/tmp/somewhere"}
    known |= {"OFFSITE_RING": str(tmp_path / "ring.json"), "RAY_AUTH_TOKEN": "t0ken-of-ray"}
    text = "correct horse AAAABBBB t0ken-of-ray lab /tmp/somewhere"
    assert redaction_of(known).of(text) == "*** *** *** lab /tmp/somewhere"


def work_of(artifacts: ArtifactStore, name: LogName, content: bytes, number: int = 0) -> None:
    artifacts.write(f"work/{UID}/log/{name.chunk(number)}", content)


def test_logs_of_the_training_are_copied_and_not_believed(artifacts: ArtifactStore) -> None:
    """The image that trains may be the author's own, and write any file in its folder."""
    honest, forged = LogName.new(1, "Work"), LogName.new(1, "Open")
    work_of(artifacts, honest, b'{"event": "log", "message": "trained"}\n')
    work_of(artifacts, honest, b"x" * (3 * LONGEST_CHUNK), number=1)  # too large
    work_of(artifacts, forged, b'{"event": "log", "message": "opened"}\n')
    artifacts.write(f"work/{UID}/log/anything", b"x")
    kept = KeptLogs(artifacts, UID)
    assert [log.name for log in kept.list()] == [honest]
    kept.collect()
    artifacts.remove(f"work/{UID}")
    assert [log.name for log in kept.list()] == [honest]
    assert messages(artifacts) == ["trained"]


def test_links_of_the_training_are_not_followed(tmp_path: Path) -> None:
    artifacts, name = FolderArtifactStore(tmp_path), LogName.new(1, "Work")
    (tmp_path / "records").mkdir()
    (tmp_path / "records/secret").write_text("a record")
    (tmp_path / f"work/{UID}/log").mkdir(parents=True)
    link = tmp_path / f"work/{UID}/log" / name.chunk(0)
    link.symlink_to(tmp_path / "records/secret")
    KeptLogs(artifacts, UID).collect()
    assert KeptLogs(artifacts, UID).list() == []
    link.unlink()
    link.parent.rmdir()
    link.parent.symlink_to(tmp_path / "records", target_is_directory=True)
    KeptLogs(artifacts, UID).collect()
    assert not (tmp_path / "logs").exists()


def test_only_the_newest_logs_of_a_job_are_kept(artifacts: ArtifactStore) -> None:
    names = [LogName.new(attempt, "Open") for attempt in range(1, MOST_LOGS + 3)]
    for name in names:
        artifacts.write(f"logs/{UID}/{name.chunk(0)}", b"{}\n")
    keep_newest(artifacts, f"logs/{UID}")
    assert [*logs_in(artifacts.names(f"logs/{UID}"))] == names[2:]


def test_logs_of_deleted_jobs_are_deleted_after_some_days(artifacts: ArtifactStore) -> None:
    for uid in ("there", "gone"):
        job = LoggedJob(name="support", uid=uid, stage="Tune", since=now())
        KeptLogs(artifacts, uid).describe(job)
    assert {job.uid for job in logged_jobs(artifacts, "support")} == {"there", "gone"}
    assert logged_jobs(artifacts, "other") == []
    later = datetime.now(UTC) + timedelta(days=5)
    assert forget(artifacts, Jobs(uids=("there",), listed=later), 30) == []
    assert forget(artifacts, Jobs(uids=("there",), listed=later), 4) == ["gone"]
    assert [job.uid for job in logged_jobs(artifacts, "support")] == ["there"]
    artifacts.write(f"logs/there/{JOB}", b"{}")
    assert logged_jobs(artifacts, "support") == []
