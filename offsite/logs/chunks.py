"""Writes a log in chunks while its pod runs: notes in an artifact store, each a few lines.

An object store cannot append, so only the last chunk is written again. A long log keeps its first
and its last chunks. The store may be away for a while; the log then stays in memory, within the
same bounds.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from offsite.errors import OffsiteError
from offsite.logs.names import FIRST_CHUNKS, LAST_CHUNKS, LONGEST_CHUNK, LogName
from offsite.store.artifact_store import ArtifactStore

_SECONDS = 5.0
"""Time between two writes, by default."""


@dataclass
class _Chunk:
    number: int
    content: bytearray = field(default_factory=bytearray)
    written: int = 0
    """Bytes that the store has."""


class ChunkWriter:
    """Keeps one log. Thread-safe; writes to the store in a thread of its own."""

    def __init__(
        self,
        begin: Callable[[], ArtifactStore],
        folder: str,
        name: LogName,
        seconds: float = _SECONDS,
    ) -> None:
        """Keep the log of a name.

        Args:
            begin: Opens the store, and prepares the folder. Called in the thread that writes, until
                it succeeds.
            folder: Where the log is kept in the store.
            seconds: Time between two writes.
        """
        self._begin, self._folder, self._name = begin, folder, name
        self._artifacts: ArtifactStore | None = None
        self._seconds = seconds
        self._chunks = [_Chunk(0)]
        """Those that are not written, the last one at least."""
        self._lock, self._closing = threading.Lock(), threading.Event()
        self._error: OffsiteError | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def add(self, line: bytes) -> None:
        """Add a line, given without its end."""
        with self._lock:
            last = self._chunks[-1]
            if last.content and len(last.content) + len(line) >= LONGEST_CHUNK:
                last = _Chunk(last.number + 1)
                self._chunks.append(last)
                self._chunks = [each for each in self._chunks if _stays(each.number, last.number)]
            last.content += line + b"\n"

    def close(self, seconds: float) -> str:
        """Write the rest.

        Args:
            seconds: How long to wait for the store.

        Returns:
            Why a part of the log is missing; empty: nothing is.
        """
        self._closing.set()
        self._thread.join(seconds)
        if self._thread.is_alive():
            return f"the store did not answer for {seconds:.0f} s"
        return str(self._error or "")

    def _run(self) -> None:
        while True:
            closing = self._closing.wait(self._seconds)
            try:
                self._artifacts = self._artifacts or self._begin()
                self._flush(self._artifacts)
                self._error = None
            except OffsiteError as error:  # the next round tries again
                self._error = error
            if closing:
                return

    def _flush(self, artifacts: ArtifactStore) -> None:
        with self._lock:
            waiting = [
                (each, bytes(each.content))
                for each in self._chunks
                if len(each.content) > each.written
            ]
        for chunk, content in waiting:
            artifacts.write(self._path(chunk.number), content)
            chunk.written = len(content)
            if (outdated := chunk.number - LAST_CHUNKS) >= FIRST_CHUNKS:
                artifacts.remove(self._path(outdated))
        with self._lock:
            last = self._chunks[-1]
            self._chunks = [
                each for each in self._chunks if each is last or len(each.content) > each.written
            ]

    def _path(self, number: int) -> str:
        return f"{self._folder}/{self._name.chunk(number)}"


def _stays(number: int, last: int) -> bool:
    return number < FIRST_CHUNKS or number > last - LAST_CHUNKS
