"""Computes digests of files from the reads that compare or copy their tensors. No torch."""

from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

from offsite.bundle.manifest import FileEntry
from offsite.bundle.weights import StoredTensor, changed
from offsite.store import disk_errors

_PIECE = 1 << 20


class Digests:
    """Reads tensors of some files, and computes the SHA-256 of each file from the same bytes.

    If the tensors of a file are read in its order, none of its bytes is read twice.
    """

    def __init__(self) -> None:
        self._files: dict[Path, _Digested] = {}
        self._open = ExitStack()

    def __enter__(self) -> "Digests":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def pieces(self, tensor: StoredTensor) -> Iterator[bytes]:
        """Read a tensor as `StoredTensor.pieces` does."""
        file = self._file(tensor.path)
        for start, size in tensor.spans():
            yield file.read(start, size)

    def of(self, path: Path) -> FileEntry:
        """Return size and digest of a whole file; reads the rest of it."""
        return self._file(path).entry()

    def _file(self, path: Path) -> "_Digested":
        if path not in self._files:
            with disk_errors(path):
                self._files[path] = _Digested(path, self._open.enter_context(path.open("rb")))
        return self._files[path]


class _Digested:
    """A file, whose digest was computed up to some place."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path, self._file = path, file
        self._digest: Any = sha256()
        self._end = 0

    def read(self, start: int, size: int) -> bytes:
        while self._end < start:
            self._read_on(min(_PIECE, start - self._end))
        if self._end == start:
            return self._read_on(size)
        return self._bytes(start, size)

    def entry(self) -> FileEntry:
        with disk_errors(self._path):
            size = self._path.stat().st_size
        while self._end < size:
            self._read_on(min(_PIECE, size - self._end))
        return FileEntry(sha256=self._digest.hexdigest(), size=size)

    def _read_on(self, size: int) -> bytes:
        found = self._bytes(self._end, size)
        self._digest.update(found)
        self._end += size
        return found

    def _bytes(self, start: int, size: int) -> bytes:
        with disk_errors(self._path):
            self._file.seek(start)
            found = self._file.read(size)
        if len(found) < size:
            raise changed(self._path)
        return found
