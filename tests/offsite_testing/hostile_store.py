"""A store on loopback that answers every request alike, whatever it is asked."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class HostileStore(http.server.ThreadingHTTPServer):
    """Its answer may be changed while it serves."""

    daemon_threads = True  # noqa: V107 - the library reads it
    code = 400
    body = b""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: HostileStore

    def do_GET(self) -> None:  # noqa: V105 - it calls it
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(self.server.code)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(self.server.body)

    do_PUT = do_POST = do_DELETE = do_HEAD = do_GET  # noqa: V107 - it calls them

    def log_message(self, format: str, *args: Any) -> None:  # noqa: V105
        """Do not log each request."""


@contextmanager
def hostile_store() -> Iterator[HostileStore]:
    """Serve until the block ends."""
    with HostileStore(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
