"""Splits the files of a bundle into shards."""

from dataclasses import dataclass
from pathlib import Path

from offsite.bundle import MANIFEST, Manifest
from offsite.sealing import SHARD_SIZE
from offsite.sealing.shards import shard_count


@dataclass(frozen=True)
class Chunk:
    """A part of a file that becomes a shard."""

    path: Path
    file: int
    number: int
    count: int
    size: int


def files_of(manifest: Manifest) -> list[str]:
    """Number the files of a bundle: the manifest is 0, the others follow by name."""
    return [MANIFEST, *sorted(manifest.files)]


def chunks_of(folder: Path, manifest: Manifest) -> list[Chunk]:
    """Split the files of a bundle, in the order of their numbers."""
    pieces: list[Chunk] = []
    for number, name in enumerate(files_of(manifest)):
        path = folder / name
        left = path.stat().st_size
        count = shard_count(left)
        for i in range(count):
            size = min(SHARD_SIZE, left)
            pieces.append(Chunk(path, number, i, count, size))
            left -= size
    return pieces
