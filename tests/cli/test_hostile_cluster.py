"""Every command on a cluster whose objects, logs and answers hold whatever changes a terminal."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from typer.testing import CliRunner

from offsite.errors import OffsiteError
from offsite.events import EVENT_MARK, new_mark
from offsite.resources import EgressFact, EgressReport, SentFile, SentTensors
from offsite.text import as_json
from offsite_cli.app import app
from offsite_testing.foreign import HOSTILE, assert_harmless

TIME = "2026-01-01T00:00:00Z"
MARK = new_mark()
PRIVACY: dict[str, Any] = {
    "epsilon": 8.0,
    "delta": 1e-5,
    "samplingRate": 0.1,
    "steps": 1,
    "noiseMultiplier": 1.0,
}
UID = "0a1b2c3d-0000-0000-0000-000000000000"
LABELS = {
    "offsite-tuning.dev/attempt": "1",
    "offsite-tuning.dev/step": HOSTILE,
    "offsite-tuning.dev/driver": "true",
}


def metadata(name: str, **more: Any) -> dict[str, Any]:
    found = {"name": name, "namespace": "lab", "uid": UID, "resourceVersion": "1", "generation": 1}
    noted = {HOSTILE: HOSTILE, EVENT_MARK: MARK}
    return {**found, "creationTimestamp": TIME, "annotations": noted, **more}


EGRESS = EgressReport.of(
    **dict.fromkeys(
        ("kind", "bundle", "job", "sender", "recipient", "recipient_keys", "answers", "manifest"),
        HOSTILE[:71],
    ),
    size_bytes=1,
    files=[SentFile(name=HOSTILE, sha256=HOSTILE[:64], size_bytes=1)],
    tensors=[SentTensors(name=HOSTILE, dtype=HOSTILE, shape=[1], count=1, size_bytes=1)],
    facts=[EgressFact(name=HOSTILE, value=HOSTILE)],
)


def job(state: str) -> dict[str, Any]:
    said = {"reason": HOSTILE, "message": HOSTILE, "lastTransitionTime": TIME}
    return {
        "apiVersion": "offsite-tuning.dev/v1alpha1",
        "kind": "OffsiteJob",
        "metadata": metadata("adapter", labels={"l": HOSTILE}),
        "spec": {"stage": "Tune", "peer": HOSTILE, "tune": {"bundle": HOSTILE}},
        "status": {
            "observedGeneration": 1,
            "state": state,
            "reason": HOSTILE,
            "step": "Work",
            "engine": HOSTILE,
            "jobName": HOSTILE,
            "attempts": 1,
            "conditions": [{"type": HOSTILE, "status": "True", **said}],
            "progress": {"phase": HOSTILE, "step": 1, "totalSteps": 2, "percent": 50.0},
            "metrics": [{"name": HOSTILE, "setting": HOSTILE, "value": "1.5", "text": HOSTILE}],
            "privacy": {**PRIVACY, "unit": HOSTILE},
            "egress": EGRESS.wire(),
            "approval": {"approver": HOSTILE, "digest": HOSTILE, "name": HOSTILE, "time": HOSTILE},
            "artifact": {"name": HOSTILE, "uri": HOSTILE, "digest": HOSTILE, "sizeBytes": 1},
        },
    }


def pod() -> dict[str, Any]:
    return {
        "metadata": metadata("pod-1", labels=LABELS),
        "spec": {"containers": [{"name": "step"}]},
        "status": {"phase": "Succeeded", "message": HOSTILE},
    }


def log() -> bytes:
    events: list[dict[str, Any]] = [
        {"event": "log", "message": HOSTILE},
        {"event": HOSTILE, HOSTILE: HOSTILE},
        {"event": "failed", "reason": HOSTILE, "message": HOSTILE},
        {"event": "progress", "phase": HOSTILE, "step": HOSTILE, "loss": HOSTILE},
        {"event": "metric", "name": HOSTILE, "setting": HOSTILE, "value": HOSTILE},
        {"event": "privacy", **PRIVACY, "unit": HOSTILE},
        {"event": "artifact", "name": HOSTILE, "uri": [HOSTILE], "sizeBytes": HOSTILE},
        {"event": "check", "store": HOSTILE, "verdict": HOSTILE, "message": HOSTILE},
    ]
    whole = (f"log {line}" for line in HOSTILE.split("\n"))
    lines = [*whole, *(f"offsite-event {MARK} {as_json(each)}" for each in events)]
    stamped = (f"2026-01-01T00:00:00.{n:09}Z {line}\n" for n, line in enumerate(lines))
    return "".join(stamped).encode(errors="replace")


def told() -> dict[str, Any]:
    about = {"kind": HOSTILE, "name": HOSTILE, "uid": UID}
    said = {"type": HOSTILE, "reason": HOSTILE, "message": HOSTILE, "lastTimestamp": TIME}
    return {"metadata": metadata("event-1"), "involvedObject": about, **said}


class Cluster(ThreadingHTTPServer):
    daemon_threads = True  # noqa: V107 - the library reads it

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.refusal = 0
        self.state = "Complete"

    def answer(self, path: str) -> bytes:
        *_, kind, name = ["", *path.split("/")]
        if self.refusal:
            causes = [{"field": HOSTILE, "message": HOSTILE, "reason": HOSTILE}]
            details = {"kind": HOSTILE, "name": HOSTILE, "causes": causes}
            return dumped({"kind": "Status", "message": HOSTILE, "details": details})
        if name == "log":
            return log()
        items = {"offsitejobs": job(self.state), "pods": pod(), "events": told()}
        if name in items:
            return dumped({"apiVersion": "v1", "kind": "List", "items": [items[name]]})
        if kind in items:
            return dumped(items[kind])
        found = {"items": [], "resources": [], "gitVersion": HOSTILE, "data": {HOSTILE: HOSTILE}}
        allowed = {"allowed": False, "reason": HOSTILE}
        inner = {"containers": [{"name": HOSTILE, "image": HOSTILE, "env": []}], "volumes": []}
        spec = {"template": {"metadata": {}, "spec": inner}}
        return dumped({"metadata": metadata("x"), "spec": spec, "status": allowed, **found})


def dumped(content: object) -> bytes:
    return json.dumps(content).encode()


class _Handler(BaseHTTPRequestHandler):
    server: Cluster

    def do_GET(self) -> None:  # noqa: V105 - it calls it
        path = urlsplit(self.path)
        body = self.server.answer(path.path)
        if "watch" in parse_qs(path.query):
            body = dumped({"type": "MODIFIED", "object": job("Failed")}) + b"\n"
        self.send_response(self.server.refusal or 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PATCH = do_DELETE = do_GET  # noqa: V107 - it calls them

    def log_message(self, format: str, *args: Any) -> None:  # noqa: V105
        """Do not log each request."""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    with Cluster() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        named = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "clusters": [named],
            "users": [{"name": "c", "user": {}}],
            "contexts": [
                {"name": "c", "context": {"cluster": "c", "user": "c", "namespace": "lab"}}
            ],
        }
        path = tmp_path / "kubeconfig"
        path.write_text(json.dumps(content))
        monkeypatch.setenv("KUBECONFIG", str(path))
        yield server
        server.shutdown()


LOOKING = [
    *(["list", "-o", form] for form in ("table", "wide", "json", "yaml", "name")),
    *(["list", "-A", "-o", form] for form in ("table", "wide")),
    ["get", "adapter"],
    *(["egress", "adapter", "-o", form] for form in ("text", "json")),
    ["get", "adapter", "adapter"],
    *(["get", "adapter", "-o", form] for form in ("wide", "json", "yaml", "name")),
    *(["logs", "adapter", "-o", form] for form in ("text", "json")),
    *(["events", "adapter", "-o", form] for form in ("table", "json", "yaml", "name")),
    *(["watch", "adapter", "-o", form] for form in ("text", "json")),
    *(["doctor", "-o", form] for form in ("text", "json")),
]
CHANGING = [[each, "adapter"] for each in ("cancel", "suspend", "resume", "retry", "delete")]
CHANGING += [[each, "adapter", HOSTILE] for each in ("approve", "reject")]


def run(arguments: list[str]) -> str:
    """Run a command; what a library or a bug would print raw is not escaped here."""
    done = CliRunner().invoke(app, arguments)
    error = done.exception
    assert error is None or isinstance(error, OffsiteError | SystemExit), repr(error)
    return done.output + (str(error) if isinstance(error, OffsiteError) else "")


@pytest.mark.parametrize("state", ["Complete", "Failed", "Running"])
@pytest.mark.parametrize("arguments", [*LOOKING, *CHANGING], ids=" ".join)
def test_what_a_cluster_says_is_shown_escaped(
    cluster: Cluster, arguments: list[str], state: str
) -> None:
    cluster.state = state
    said = run(arguments)
    assert_harmless(said)
    assert said


@pytest.mark.parametrize("code", [400, 401, 403, 404, 409, 422, 429, 500, 503])
@pytest.mark.parametrize("arguments", [["list"], ["get", "adapter"], ["logs", "adapter"]])
def test_a_refusal_is_told_escaped(cluster: Cluster, arguments: list[str], code: int) -> None:
    cluster.refusal = code
    assert_harmless(run(arguments))


def test_a_finding_is_told_escaped(cluster: Cluster) -> None:
    cluster.refusal = 403
    said = run(["doctor"])
    assert_harmless(said)
    assert "warn  gpus: " in said


def test_the_logs_show_what_lines_say(cluster: Cluster) -> None:
    said = run(["logs", "adapter"])
    assert "EVIL" in said
    assert "[red]markup[/red]" in said
    assert r"\x1b]52;c;cm0gLXJm\x07" in said
    # a colour alone is left out
    assert r"\x1b[31mEVIL" in said.split("failed (")[1]
    assert said.startswith("log xEVIL")


def test_a_job_file_of_any_name_and_content_is_told_escaped(tmp_path: Path) -> None:
    path = tmp_path / HOSTILE.replace("\0", "").replace("/", "")[:60]
    path.write_text(json.dumps({HOSTILE: HOSTILE, "spec": {"stage": HOSTILE, "peer": HOSTILE}}))
    for arguments in (["submit", "-f", str(path)], ["submit", "-f", f"{path}.not"]):
        assert_harmless(run(arguments))
