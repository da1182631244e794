"""`/healthz`, by the age of the last resync, and `/metrics`."""

import threading
from collections.abc import Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app

from offsite_operator.metrics import Metrics

_INTERVALS = 3
"""Of the resync: after so many without one the operator hangs, whatever its threads do."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # noqa: V107 - the library reads it


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: V105 - it calls it
        """Do not log each probe."""


def serve(metrics: Metrics, interval: float, port: int) -> WSGIServer:
    """Serve both, in a thread of their own, until the server is shut down.

    Args:
        interval: of the resync, in seconds.
        port: 0: one that is free.
    """
    figures = make_wsgi_app(metrics.registry)

    def answer(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/healthz":
            return figures(environ, start)  # type: ignore[no-any-return]
        age = metrics.resync_age()
        healthy = age < _INTERVALS * interval
        status = "200 OK" if healthy else "503 Service Unavailable"
        start(status, [("Content-Type", "text/plain")])
        return [f"the last resync was {age:.0f} s ago\n".encode()]

    server = make_server("", port, answer, _Server, _Quiet)
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    return server
