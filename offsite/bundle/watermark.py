"""The watermark of an emulator: a keyed change of its weights, another one for each recipient.

To each weight w of a matrix a pseudorandom d in {-2 … 2} is added, times a small share of the
matrix's root mean square. d is the number of ones among four bits of a keyed stream, less two: its
mean is 0 and its variance 1. So colluders who compare their weights see a bell curve and not two
values, of which they could choose the rarer one (spread spectrum: Cox et al. 1997).

The stream of a row is SHAKE256 (FIPS 202) of a secret and the row's place. The secret is
derived from a sign key of the owner. What is marked is nothing else: no vector, no embedding, and
no weight that is exactly zero. `tracing` finds marks. No torch.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from math import prod, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from offsite.bundle.numbers import encode
from offsite.bundle.weights import StoredTensor, stored_blocks
from offsite.sealing import Ring
from offsite.wire import Digest, Name, Part, canonical

STRENGTH = 0.002
"""Standard deviation of the mark, as a share of a matrix's root mean square."""
_DOMAIN = b"offsite watermark 1\n"
_ONES = np.array([bin(i).count("1") - 2 for i in range(16)], np.int8)
_LEVELS = np.stack((_ONES[np.arange(256) % 16], _ONES[np.arange(256) // 16]), axis=1)
"""The two values that each byte of the stream stands for."""


class Watermark(Part):
    """How an emulator was marked. Only with the owner's key does it say what was added."""

    key: str = Field(pattern=r"^[0-9a-f]{16}$")
    """The id of the sign key in the owner's ring from which the secret was derived."""
    unmarked: Digest
    """Of the manifest that the emulator had without the mark."""
    strength: float = Field(STRENGTH, gt=0, le=1)
    """See `STRENGTH`."""

    def secret(self, ring: Ring, recipient: Name) -> bytes | None:
        """Derive the 32-byte secret of one emulator; None: the ring lacks the key.

        Args:
            ring: The keys of the party that sent it.
            recipient: The id of the party that it was made for.
        """
        facts = {"recipient": recipient, "unmarked": self.unmarked}
        return ring.derived(self.key, _DOMAIN + canonical(facts))


def direction(secret: bytes, block: int, name: str, rows: range, columns: int) -> NDArray[np.int8]:
    """Compute what is added to some rows of a matrix, before scaling: integers from -2 to 2.

    Args:
        block: The full model's block that the matrix is of.
        name: The matrix's name in the block.
    """
    # the secret and the row have fixed lengths, so no two rows have the same input
    place = hashlib.shake_256(secret + canonical([block, name]))
    stream = b"".join(_stream(place.copy(), row, -(-columns // 2)) for row in rows)
    return _LEVELS[np.frombuffer(stream, np.uint8)].reshape(len(rows), -1)[:, :columns]


def _stream(place: Any, row: int, size: int) -> bytes:
    place.update(row.to_bytes(8))
    return bytes(place.digest(size))


def is_marked(shape: Sequence[int]) -> bool:
    """Return whether a tensor of a block gets a mark: a matrix does."""
    return len(shape) == 2


def add_watermark(
    folder: Path, target: Path, secret: bytes, strength: float, blocks: Sequence[int]
) -> None:
    """Copy the files of an emulator's weights and mark the copies. The same input gives the same
    bytes.

    Args:
        folder: The emulator.
        target: An existing folder to write to.
        blocks: The full model's block that each of the emulator's was made from.

    Raises:
        ModelError: The emulator cannot be read.
        DiskFullError: The copies do not fit.
    """
    marked = [
        (blocks[place], name, tensor)
        for place, block in enumerate(stored_blocks(folder))
        for name, tensor in block.items()
        if is_marked(tensor.shape)
    ]
    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        files: dict[Path, int] = {}
        for path in sorted({tensor.path for *_, tensor in marked}):
            shutil.copyfile(path, target / path.name)
            file = stack.enter_context((target / path.name).open("r+b"))
            files[path] = file.fileno()

        def mark(each: tuple[int, str, StoredTensor]) -> None:
            block, name, tensor = each
            added = partial(direction, secret, block, name, columns=tensor.columns)
            _mark(tensor, files[tensor.path], added, strength)

        for _ in pool.map(mark, marked):
            pass


def _mark(
    tensor: StoredTensor, file: int, added: Callable[[range], NDArray[np.int8]], strength: float
) -> None:
    """Write a marked copy of a matrix to the place that it has in another file."""
    # three digits: the sum's last bits depend on the processor
    step = np.float32(f"{strength * root_mean_square(tensor):.3g}")
    row, place = 0, tensor.start
    for raw in tensor.pieces():
        values = tensor.values(raw)
        rows = range(row, row + len(values))
        marked = np.where(values == 0, values, values + step * added(rows))
        _write(file, _finite(encode(marked, tensor.dtype), raw, tensor), place)
        row, place = rows.stop, place + len(raw)


def root_mean_square(tensor: StoredTensor) -> float:
    """Compute the root mean square of a tensor's values."""
    pieces = (np.square(tensor.values(raw), dtype=np.float64).sum() for raw in tensor.pieces())
    return sqrt(sum(map(float, pieces)) / max(1, prod(tensor.shape)))


def _finite(marked: bytes, raw: bytes, tensor: StoredTensor) -> bytes:
    """Keep the value as it was where the sum is too large for the format."""
    finite = np.isfinite(tensor.values(marked))
    if finite.all():
        return marked
    kept = np.where(finite, tensor.bits(marked), tensor.bits(raw))
    return kept.tobytes()


def _write(file: int, content: bytes, place: int) -> None:
    while content:
        done = os.pwrite(file, content, place)
        content, place = content[done:], place + done
