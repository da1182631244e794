"""Writes a safetensors file piece by piece, and computes its digest meanwhile. No torch.

`safetensors` itself needs all tensors of a file in memory.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from offsite.bundle.files import Kind
from offsite.bundle.manifest import FileEntry
from offsite.bundle.numbers import SIZES

Piece = bytes | memoryview
_ALIGNMENT = 8
_METADATA = {"format": "pt"}


def write_tensors(
    path: Path,
    kinds: Mapping[str, Kind],
    read: Callable[[str], Iterable[Piece]],
    metadata: Mapping[str, str] = _METADATA,
) -> FileEntry:
    """Write tensors of one dtype, byte for byte as `safetensors.torch.save_file` does.

    https://github.com/huggingface/safetensors#format

    Args:
        kinds: Shape and dtype of each tensor, by its name in the file.
        read: Returns the bytes of a tensor, in pieces. It is called once for each, in the order of
            `sorted(kinds)`.
    """
    names, digest = sorted(kinds), sha256()
    with path.open("wb") as file:
        _add(file, digest, _header(names, kinds, metadata))
        for name in names:
            start = file.tell()
            for piece in read(name):
                _add(file, digest, piece)
            assert file.tell() - start == _size(kinds[name]), name
        return FileEntry(sha256=digest.hexdigest(), size=file.tell())


def write_bytes(path: Path, content: bytes) -> FileEntry:
    """Write a small file."""
    path.write_bytes(content)
    return FileEntry(sha256=sha256(content).hexdigest(), size=len(content))


def _header(names: Iterable[str], kinds: Mapping[str, Kind], metadata: Mapping[str, str]) -> bytes:
    fields: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name in names:
        shape, dtype = kinds[name]
        start, end = end, end + _size(kinds[name])
        fields[name] = {"dtype": dtype, "shape": shape, "data_offsets": (start, end)}
    content = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
    content += b" " * (-len(content) % _ALIGNMENT)
    return len(content).to_bytes(8, "little") + content


def _size(kind: Kind) -> int:
    shape, dtype = kind
    return prod(shape) * SIZES[dtype]


def _add(file: BinaryIO, digest: Any, piece: Piece) -> None:
    file.write(piece)
    digest.update(piece)
