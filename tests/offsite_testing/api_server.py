"""A minimal API server: a nearly empty namespace, with the answers of Kubernetes.

For what is about the operator's process. What it does to objects is tested on a real one.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from offsite.events import EVENT_MARK

_KINDS = {
    "/api/v1": ("Pod", "Event", "ConfigMap", "Namespace"),
    "/apis/batch/v1": ("Job",),
    "/apis/offsite-tuning.dev/v1alpha1": ("OffsiteJob", "OffsitePeer"),
    "/apis/ray.io/v1": ("RayJob",),
}
_VERBS = ["create", "delete", "get", "list", "patch", "watch"]
_RAY = "/apis/ray.io/v1"


class ApiServer(ThreadingHTTPServer):
    """Serves on a free port of this machine."""

    daemon_threads = True  # noqa: V107 - the library reads it

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.ray = False
        """Whether it serves RayJobs."""
        self.watched: set[str] = set()
        """Plurals of the kinds that were watched."""
        self.deletions: list[dict[str, Any]] = []
        """What it was asked to delete, and refused: as another object has the name now."""
        self.items: dict[str, list[dict[str, Any]]] = {}
        """What it lists, by plural; nothing of what is not here."""
        self.objects: dict[str, dict[str, Any]] = {}
        """Single objects, by plural and name: `offsitejobs/adapter`."""
        self.logs: dict[str, str] = {}
        """Logs of pods, with a timestamp on each line."""
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def kinds(self) -> dict[str, tuple[str, ...]]:
        """What it serves, by path."""
        return {path: each for path, each in _KINDS.items() if self.ray or path != _RAY}


@contextmanager
def api_server() -> Iterator[ApiServer]:
    """Serve while the `with` block runs."""
    with ApiServer() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()


def kubeconfig(folder: Path, server: ApiServer) -> Path:
    """Write the file by which a command finds a server; the namespace is `lab`."""
    context = {"cluster": "c", "user": "c", "namespace": "lab"}
    config = {
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server.url}}],
        "users": [{"name": "c", "user": {}}],
        "contexts": [{"name": "c", "context": context}],
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


def released(server: ApiServer, job: str, uid: str, private: str = "s3://lab/offsite") -> None:
    """Add a job, and a Helm release with a private store."""
    spec = {"stage": "Tune"}
    server.objects[f"offsitejobs/{job}"] = {"metadata": {"name": job, "uid": uid}, "spec": spec}
    settings = json.dumps({"private": {"uri": private}})
    server.objects["configmaps/offsite-settings"] = {"data": {"settings.json": settings}}


def pod(attempt: int, step: str, mark: str = "") -> dict[str, Any]:
    """Describe a pod that has ended, named `pod-<attempt>`."""
    labels = {"offsite-tuning.dev/attempt": str(attempt), "offsite-tuning.dev/step": step}
    named = {"name": f"pod-{attempt}", "uid": f"pod-{attempt}", "annotations": {EVENT_MARK: mark}}
    return {
        "metadata": {**named, "labels": labels, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"containers": [{"name": "step"}]},
        "status": {"phase": "Succeeded"},
    }


class _Handler(BaseHTTPRequestHandler):
    server: ApiServer

    def do_GET(self) -> None:  # noqa: V105 - it calls it
        """Answer, or stream nothing until the end."""
        address = urlsplit(self.path)
        if "watch" in parse_qs(address.query):
            self.server.watched.add(address.path.rpartition("/")[2])
            self._begin(200)
            self.server.closing.wait()
            return
        *_, named, last = address.path.split("/")
        if last == "log" and named in self.server.logs:
            self._begin(200)
            self.wfile.write(self.server.logs[named].encode())
            return
        found = self._found(address.path)
        self._begin(200 if found else 404)
        self.wfile.write(json.dumps(found or {"message": "not found"}).encode())

    def do_DELETE(self) -> None:  # noqa: V105 - it calls it
        """Refuse, and remember what was asked."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.deletions.append(json.loads(body))
        self._begin(409)
        self.wfile.write(b'{"message": "the UID in the precondition is another"}')

    def log_message(self, format: str, *args: Any) -> None:  # noqa: V105
        """Do not log each request."""

    def _found(self, path: str) -> dict[str, Any] | None:
        kinds = self.server.kinds
        if path == "/api":
            return {"versions": ["v1"]}
        if path == "/apis":
            return {"groups": [_group(*each.split("/")[2:]) for each in kinds if each[4] == "s"]}
        if path in kinds:
            return {"resources": [_resource(kind) for kind in kinds[path]]}
        served = any(path.startswith(f"{each}/namespaces/") for each in kinds)
        if named := self.server.objects.get("/".join(path.split("/")[-2:])):
            return named
        items = self.server.items.get(path.rpartition("/")[2], [])
        return {"metadata": {"resourceVersion": "1"}, "items": items} if served else None

    def _begin(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()


def _group(name: str, version: str) -> dict[str, Any]:
    only = {"groupVersion": f"{name}/{version}", "version": version}
    return {"name": name, "versions": [only], "preferredVersion": only}


def _resource(kind: str) -> dict[str, Any]:
    names = {"name": f"{kind.lower()}s", "singularName": kind.lower(), "kind": kind}
    return {**names, "namespaced": True, "verbs": _VERBS}
