"""A minimal API server: a nearly empty namespace, with the answers of Kubernetes.

For what is about the operator's process. What it does to objects is tested on a real one.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

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
