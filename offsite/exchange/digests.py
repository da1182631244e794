"""Computes digests of files whose shards arrive in any order, during the transfer.

Each byte is read once, as soon as all bytes before it have arrived. After the last shard, little is
left to read.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from offsite.sealing import SHARD_SIZE, Shard

_CHUNK = 1 << 20


class Digests:
    """The digests of the files in a folder that is being filled."""

    def __init__(self, paths: Mapping[int, Path], there: Iterable[Shard]) -> None:
        """Start the digests.

        Args:
            paths: Paths of the files, by their number in shards.
            there: Shards that were opened before.
        """
        self._files = {number: _Beginning(path) for number, path in paths.items()}
        for shard in there:
            self._files[shard.file].there.add(shard.number)

    def add(self, shard: Shard) -> None:
        """Process a shard that was opened and written."""
        self._files[shard.file].there.add(shard.number)
        self._files[shard.file].read_on()

    def of(self, path: Path) -> str:
        """Return the SHA-256 of a complete file, in hex."""
        (found,) = (each for each in self._files.values() if each.path == path)
        found.read_on()
        return str(found.hash.hexdigest())


@dataclass
class _Beginning:
    """A file, read up to its first gap."""

    path: Path
    there: set[int] = field(default_factory=set)
    """Shards that are written but not read yet."""
    hash: Any = field(default_factory=hashlib.sha256)
    next: int = 0

    def read_on(self) -> None:
        if self.next not in self.there:
            return
        with self.path.open("rb") as file:
            file.seek(self.next * SHARD_SIZE)
            while self.next in self.there:
                self.there.remove(self.next)
                self.next += 1
                while chunk := file.read(min(_CHUNK, self.next * SHARD_SIZE - file.tell())):
                    self.hash.update(chunk)
