"""`offsite report` on jobs of a cluster: from the log of a pod, or from the private store."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from offsite.errors import InputError
from offsite.events import Record, as_line, new_mark
from offsite.runs import Run
from offsite.steps.recording import RunRecords
from offsite.store.artifact_store import FolderArtifactStore
from offsite_cli.app import app
from offsite_cli.cluster.connection import Target, connect
from offsite_cli.cluster.errors import ClusterError
from offsite_cli.cluster.records import fetch_run, stored_run
from offsite_testing import reported
from offsite_testing.api_server import ApiServer, api_server, kubeconfig, pod, released

UID = "0a1b2c3d-0000-0000-0000-000000000000"
RUN = reported.tune_run()


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """A namespace with a job that has published."""
    monkeypatch.delenv("OFFSITE_PRIVATE_CREDENTIALS", raising=False)
    with api_server() as server:
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path, server)))
        released(server, RUN.job, UID)
        yield server


def published(server: ApiServer, run: Run) -> None:
    """Let a pod have printed the record of a run."""
    mark = new_mark()
    lines = ["a line", as_line(Record(run=run.wire()), mark), as_line(Record(run={}), "forged")]
    stamped = (f"2026-01-01T00:00:00.{number:09}Z {line}\n" for number, line in enumerate(lines))
    server.items["pods"] = [pod(1, "work"), pod(2, "publish", mark)]
    server.logs["pod-2"] = "".join(stamped)


def report(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["report", *arguments], catch_exceptions=False)


def test_a_report_of_a_job_on_a_cluster_is_written(cluster: ApiServer, tmp_path: Path) -> None:
    published(cluster, RUN)
    out = tmp_path / "report.html"
    assert report(RUN.job, "-n", "lab", "--out", str(out)).stdout == f"{out}\n"
    content = out.read_text("utf-8")
    assert RUN.artifact is not None
    assert RUN.artifact.digest in content


def test_the_record_is_that_which_the_pod_printed(cluster: ApiServer) -> None:
    published(cluster, RUN)
    assert fetch_run(connect(Target()), RUN.job) == RUN


def test_a_job_without_a_record_is_reported(cluster: ApiServer) -> None:
    api = connect(Target())
    with pytest.raises(ClusterError, match=r"kept in s3://lab/offsite; set OFFSITE_PRIVATE_END"):
        fetch_run(api, RUN.job)
    released(cluster, RUN.job, UID, "pvc://models/offsite")
    with pytest.raises(ClusterError, match="where that claim is mounted, add --private"):
        fetch_run(api, RUN.job)


def test_records_are_read_from_a_private_store(tmp_path: Path) -> None:
    records = RunRecords(FolderArtifactStore(tmp_path), UID)
    with pytest.raises(InputError, match=f"no record of a job {RUN.job}"):
        stored_run(tmp_path.as_uri(), RUN.job)
    records.keep_report(RUN)
    assert stored_run(tmp_path.as_uri(), RUN.job) == RUN
    with pytest.raises(InputError, match="name the jobs to report on"):
        report("--private", tmp_path.as_uri())
