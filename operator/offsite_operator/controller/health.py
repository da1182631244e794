"""Serves `/healthz` (age of the last resync), `/readyz` (a resync has completed) and `/metrics`."""

import threading
from collections.abc import Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app

from offsite_operator.controller.metrics import Metrics

_INTERVALS = 3
"""After this many resync intervals without a resync, the operator counts as hung."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # noqa: V107 - the library reads it


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: V105 - it calls it
        """Do not log each probe."""


def serve(metrics: Metrics, interval: float, port: int) -> WSGIServer:
    """Serve all three in a thread until the server is shut down.

    Args:
        interval: Resync interval in seconds.
        port: 0 picks a free port.
    """
    figures = make_wsgi_app(metrics.registry)

    def answer(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        path, age = environ["PATH_INFO"], metrics.resync_age()
        if path not in ("/healthz", "/readyz"):
            return figures(environ, start)  # type: ignore[no-any-return]
        lives, looked = age < _INTERVALS * interval, metrics.has_resynced
        fine = lives and (looked or path == "/healthz")
        start("200 OK" if fine else "503 Service Unavailable", [("Content-Type", "text/plain")])
        text = "the last resync was" if looked else "no resync yet; the operator started"
        return [f"{text} {age:.0f} s ago\n".encode()]

    server = make_server("", port, answer, _Server, _Quiet)
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    return server
