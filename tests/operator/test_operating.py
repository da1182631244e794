"""The operator's process: what it watches, how it ends, and what it writes."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kubernetes.client import ApiClient, Configuration

from offsite.sealing import Ring
from offsite.wire import canonical
from offsite_operator.cluster.client import JOBS, Api
from offsite_testing.api_server import ApiServer, api_server
from offsite_testing.world import SETTINGS

PATIENCE = 60.0
WATCHED = {"offsitejobs", "offsitepeers", "jobs", "pods"}


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with api_server() as running:
        yield running


def environment(folder: Path, server: str) -> dict[str, str]:
    """Give an operator what the chart gives it."""
    settings = SETTINGS.model_dump(mode="json", by_alias=True) | {"resyncSeconds": 0.2}
    user = {"name": "operator", "user": {"token": "t"}}
    context = {"cluster": "here", "user": "operator"}
    kubeconfig = {
        "clusters": [{"name": "here", "cluster": {"server": server}}],
        "users": [user],
        "contexts": [{"name": "here", "context": context}],
        "current-context": "here",
    }
    files = {
        "OFFSITE_SETTINGS": json.dumps(settings).encode(),
        "OFFSITE_PUBLIC": canonical(Ring.new("hospital").public().wire()),
        "OFFSITE_EXCHANGE_CREDENTIALS": b'{"accessKey": "operator", "secretKey": "unused-here"}',
        "KUBECONFIG": json.dumps(kubeconfig).encode(),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o600)
    place = {"OFFSITE_NAMESPACE": "hospital", "OFFSITE_EXCHANGE_ENDPOINT": "https://127.0.0.1:1"}
    return {**os.environ, "HOME": str(folder), **place, **{n: str(folder / n) for n in files}}


@contextmanager
def operator(folder: Path, server: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "offsite_operator"]
    environ = environment(folder, server)
    with (folder / "log").open("w") as log:
        running = subprocess.Popen(command, env=environ, stdout=log, stderr=log, text=True)
    try:
        yield running
    finally:
        running.kill()
        running.wait()


def wait(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def test_it_watches_rayjobs_when_they_come_and_ends_in_good_order(
    server: ApiServer, tmp_path: Path
) -> None:
    with operator(tmp_path, server.url) as running:
        wait(lambda: server.watched >= WATCHED)
        assert "rayjobs" not in server.watched
        server.ray = True
        wait(lambda: "rayjobs" in server.watched)
        running.terminate()
        assert running.wait(10) == 0
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert lines[-1]["message"] == "stopped"


def test_it_deletes_what_it_has_seen_and_nothing_of_the_same_name(server: ApiServer) -> None:
    configuration = Configuration()
    configuration.host = server.url
    Api(ApiClient(configuration), "hospital").delete(JOBS, "tune-1", "its-uid")
    assert [each["preconditions"] for each in server.deletions] == [{"uid": "its-uid"}]


def test_it_shuts_down_cleanly_without_an_api_server(tmp_path: Path) -> None:
    with operator(tmp_path, "http://127.0.0.1:1") as running:
        wait(lambda: "cannot list" in (tmp_path / "log").read_text())
        running.terminate()
        assert running.wait(10) == 0
    assert all(json.loads(line) for line in (tmp_path / "log").read_text().splitlines())
