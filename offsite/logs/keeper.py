"""Keeps the log of one pod: filters its lines, and writes them in chunks."""

import threading
from collections.abc import Mapping

from offsite.events import mark_of
from offsite.logs.chunks import ChunkWriter
from offsite.logs.lines import LineFilter
from offsite.logs.redaction import redaction_of


class Keeper:
    """Keeps a log. Thread-safe: a pod writes to stdout and to stderr."""

    def __init__(self, environ: Mapping[str, str], writer: ChunkWriter) -> None:
        """Keep the log of the pod with an environment."""
        self._lines = LineFilter(mark_of(environ), redaction_of(environ))
        self._writer, self._lock = writer, threading.Lock()

    def keep(self, line: bytes) -> None:
        """Keep a line, given without its end."""
        with self._lock:
            if (kept := self._lines.line(line)) is not None:
                self._writer.add(kept)

    def close(self, seconds: float) -> str:
        """See `ChunkWriter.close`."""
        return self._writer.close(seconds)
