"""Digests of a model's weights by block: a copy has the same ones under any name.

Neither the names of files and tensors, nor how they are spread over files, nor the configuration
counts. Each weight matrix is digested twice, rounded to bfloat16 and to float16, so that a copy in
another of the three dtypes shares a digest with the original. Vectors and constant matrices are
left out: they are the same in models that have nothing to do with each other. No torch.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offsite.bundle.files import headers
from offsite.errors import BundleError, ModelError, StorageError
from offsite.families import Checkpoint, Family, family_of
from offsite.sealing.parts import Part
from offsite.store import disk_errors

_SINGLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_SIZES = {"F32": 4, "BF16": 2, "F16": 2}
_PIECE = 1 << 22
"""How many values are looked at together."""
_LENGTH = 8
"""The bytes before the header of a safetensors file; they hold its length."""
_LARGEST_HEADER = 100_000_000
Weights = frozenset[str]
"""The digests of the weight matrices of one block."""


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies on the disk."""

    path: Path
    dtype: str
    shape: tuple[int, ...]
    start: int

    def pieces(self) -> Iterator[bytes]:
        """Read its bytes, some at a time."""
        left, most = prod(self.shape) * _SIZES[self.dtype], _PIECE * _SIZES[self.dtype]
        with disk_errors(self.path), self.path.open("rb") as file:
            file.seek(self.start)
            while left:
                raw = file.read(min(left, most))
                if not raw:
                    raise ModelError(f"{self.path} was changed while it was read; run it again")
                left -= len(raw)
                yield raw

    def values(self, raw: bytes) -> NDArray[np.float32]:
        """Turn bytes of it into numbers."""
        if self.dtype == "BF16":
            wide = np.frombuffer(raw, "<u2").astype("<u4") << np.uint32(16)
            return wide.view("<f4")
        return np.frombuffer(raw, "<f4" if self.dtype == "F32" else "<f2").astype("<f4")


class BlockDigests(Part):
    """What is known of one block's tensors."""

    tensors: Mapping[str, str]
    """The digest of each as it is stored, by its name in the block."""
    weights: tuple[str, ...]
    """Of its matrices, in both roundings: what the block is known by in any copy."""


def digest_blocks(folder: Path) -> tuple[BlockDigests, ...]:
    """Compute the digests of a model's tensors, for each block.

    Raises:
        ModelError: it cannot be read.
    """
    with _damage_told(folder):
        return _digest_blocks(folder)


def _digest_blocks(folder: Path) -> tuple[BlockDigests, ...]:
    blocks = _stored_blocks(folder)
    tensors = [tensor for block in blocks for tensor in block.values()]
    with ThreadPoolExecutor() as pool:
        digests = iter(list(pool.map(_digests, tensors)))
    found = list[BlockDigests]()
    for block in blocks:
        own = {name: next(digests) for name in block}
        weights = {digest for _, rounded in own.values() for digest in rounded}
        exact = {name: digest for name, (digest, _) in own.items()}
        found.append(BlockDigests(tensors=exact, weights=tuple(sorted(weights))))
    return tuple(found)


def digest_outside(folder: Path) -> dict[str, str]:
    """Compute the digests of the tensors outside a model's blocks, by their family's names.

    A head that repeats the token table has the table's name.

    Raises:
        ModelError: it cannot be read.
    """
    with _damage_told(folder):
        return {name: _digests(tensor)[0] for name, tensor in _stored_outside(folder).items()}


def _stored_outside(folder: Path) -> Mapping[str, StoredTensor]:
    config = model_config(folder)
    row = family_of(config)
    checkpoint, names = Checkpoint.of(row, config), row.outer_tensors(config).keys()
    found: dict[str, StoredTensor] = {}
    for path in _files(folder):
        for stored, tensor in _stored(path):
            name = checkpoint.name(stored) or ""
            if (name := checkpoint.tied.get(name, name)) in names:
                found.setdefault(name, tensor)
    return found


@contextmanager
def _damage_told(folder: Path) -> Iterator[None]:
    """Say of a model whose files are damaged that it cannot be loaded, as loading would."""
    try:
        yield
    except (ModelError, StorageError):
        raise
    except (BundleError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"cannot load the model {folder}: {reason}") from error


def _stored_blocks(folder: Path) -> tuple[Mapping[str, StoredTensor], ...]:
    """Find the tensors of each block of a model, by their names in the block.

    Raises:
        ModelError: it is damaged, or lacks one.
    """
    config = model_config(folder)
    row = family_of(config)
    names = row.block_tensors(config)
    blocks: tuple[dict[str, StoredTensor], ...] = tuple({} for _ in range(row.count(config)))
    for path in _files(folder):
        for name, tensor in _stored(path):
            split = _block_of(row, name)
            if split and split[0] < len(blocks) and split[1] in names:
                blocks[split[0]].setdefault(split[1], tensor)
    for i, block in enumerate(blocks):
        if lacking := sorted(names.keys() - block.keys()):
            raise ModelError(f"the model {folder} lacks {row.tensor_name(i, lacking[0])}")
    return blocks


def model_config(folder: Path) -> dict[str, Any]:
    """Read the config of a model.

    Raises:
        ModelError: it cannot be read.
    """
    return _json(folder / "config.json")


def _block_of(row: Family, name: str) -> tuple[int, str] | None:
    # the first files of some families lack the outermost name
    return row.block_of(name) or row.block_of(f"{row.blocks.partition('.')[0]}.{name}")


def _files(folder: Path) -> list[Path]:
    """List the files that transformers would read."""
    if (folder / _SINGLE).is_file():
        return [folder / _SINGLE]
    if (folder / _INDEX).is_file():
        shards = _json(folder / _INDEX).get("weight_map", {})
        return [folder / Path(str(name)).name for name in sorted(set(shards.values()))]
    return sorted(folder.glob("*.safetensors"))


def _json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot load the model {path.parent}: {path.name}: {error}") from error
    return content


def _stored(path: Path) -> Iterator[tuple[str, StoredTensor]]:
    kinds = {name: (shape, dtype) for name, shape, dtype in headers(path)}
    with disk_errors(path), path.open("rb") as file:
        size = int.from_bytes(file.read(_LENGTH), "little")
        header = json.loads(file.read(min(size, _LARGEST_HEADER)))
    for name, (shape, dtype) in kinds.items():
        if dtype in _SIZES:
            start = _LENGTH + size + header[name]["data_offsets"][0]
            yield name, StoredTensor(path, dtype, shape, start)


def _digests(tensor: StoredTensor) -> tuple[str, tuple[str, ...]]:
    """Digest a tensor as it is stored, and a weight matrix in both roundings too."""
    exact = hashlib.sha256(f"{tensor.dtype} {tensor.shape}\n".encode())
    brain, half = hashlib.sha256(b"bfloat16\n"), hashlib.sha256(b"float16\n")
    first: np.float32 | None = None
    varies = False
    for raw in tensor.pieces():
        exact.update(raw)
        if len(tensor.shape) > 1:
            values = tensor.values(raw)
            first = values[0] if first is None else first
            varies = varies or bool((values != first).any())
            brain.update(_bfloat16(values).data)
            with np.errstate(over="ignore"):
                half.update(values.astype("<f2").data)
    return exact.hexdigest(), (brain.hexdigest(), half.hexdigest()) if varies else ()


def _bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Round to the nearest, ties to even, as torch does."""
    bits = values.view("<u4")
    rounded: NDArray[np.uint16] = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
    return rounded
