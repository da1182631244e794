"""What is known of a model's weights by block: digests of the tensors, sketches of the matrices.

A copy has the same digests under any name: neither the names of files and tensors, nor how they are
spread over files, nor the configuration counts. A sketch stays nearly the same in another dtype
too, and when the matrix was changed a little (`offsite.bundle.sketch`). Vectors have none: they are
the same in models that have nothing to do with each other. No torch.
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
from offsite.bundle.numbers import SIZES, decode
from offsite.bundle.sketch import Floats, Sketch, Sketcher
from offsite.errors import BundleError, ModelError, StorageError
from offsite.families import Checkpoint, Family, family_of
from offsite.store import disk_errors
from offsite.wire import Part

_SINGLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_PIECE = 1 << 18
"""About how many values are looked at together."""
_LENGTH = 8
"""The bytes before the header of a safetensors file; they hold its length."""
_LARGEST_HEADER = 100_000_000
Weights = frozenset[Sketch]
"""The sketches of the weight matrices of one block."""


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies on the disk."""

    path: Path
    dtype: str
    shape: tuple[int, ...]
    start: int

    @property
    def columns(self) -> int:
        """How long a row is, of a tensor that is seen as a matrix."""
        return self.shape[-1] if self.shape else 1

    def spans(self) -> Iterator[tuple[int, int]]:
        """Cut its bytes into parts of some rows: where each begins in the file, and its size."""
        size, row = SIZES[self.dtype], self.columns * SIZES[self.dtype]
        end, most = self.start + prod(self.shape) * size, row * max(1, _PIECE // self.columns)
        return ((start, min(most, end - start)) for start in range(self.start, end, most))

    def pieces(self) -> Iterator[bytes]:
        """Read its bytes, some rows at a time."""
        with disk_errors(self.path), self.path.open("rb") as file:
            file.seek(self.start)
            for _, size in self.spans():
                raw = file.read(size)
                if len(raw) < size:
                    raise changed(self.path)
                yield raw

    def values(self, raw: bytes) -> Floats:
        """Turn the bytes of some rows into numbers."""
        return decode(raw, self.dtype).reshape(-1, self.columns)

    def matrix(self) -> Floats:
        """Read all of it as numbers."""
        return np.concatenate([self.values(raw) for raw in self.pieces()])

    def bits(self, raw: bytes) -> NDArray[np.unsignedinteger]:
        """Turn the bytes of some rows into whole numbers, which differ if a bit does."""
        return np.frombuffer(raw, f"<u{SIZES[self.dtype]}").reshape(-1, self.columns)


class BlockDigests(Part):
    """What is known of one block's tensors."""

    tensors: Mapping[str, str]
    """The digest of each as it is stored, by its name in the block."""
    weights: tuple[Sketch, ...]
    """The sketches of its matrices: what the block is known by in any copy."""


def digest_blocks(folder: Path) -> tuple[BlockDigests, ...]:
    """Compute the digests of a model's tensors, for each block.

    Raises:
        ModelError: it cannot be read.
    """
    with damage_reported(folder):
        return _digest_blocks(folder)


def _digest_blocks(folder: Path) -> tuple[BlockDigests, ...]:
    blocks = stored_blocks(folder)
    tensors = [tensor for block in blocks for tensor in block.values()]
    with ThreadPoolExecutor() as pool:
        known = iter(list(pool.map(_known, tensors)))
    found = list[BlockDigests]()
    for block in blocks:
        own = {name: next(known) for name in block}
        weights = {sketch for _, sketch in own.values() if sketch}
        exact = {name: digest for name, (digest, _) in own.items()}
        found.append(BlockDigests(tensors=exact, weights=tuple(sorted(weights))))
    return tuple(found)


def digest_outside(folder: Path) -> dict[str, str]:
    """Compute the digests of the tensors outside a model's blocks, by their family's names.

    A head that repeats the token table has the table's name.

    Raises:
        ModelError: it cannot be read.
    """
    with damage_reported(folder):
        return {name: _digest(tensor) for name, tensor in _stored_outside(folder).items()}


def _stored_outside(folder: Path) -> Mapping[str, StoredTensor]:
    config = model_config(folder)
    row = family_of(config)
    checkpoint, names = Checkpoint.of(row, config), row.outer_tensors(config).keys()
    found: dict[str, StoredTensor] = {}
    for path in weight_files(folder):
        for spelt, tensor in stored(path):
            name = checkpoint.name(spelt) or ""
            if (name := checkpoint.tied.get(name, name)) in names:
                found.setdefault(name, tensor)
    return found


@contextmanager
def damage_reported(folder: Path) -> Iterator[None]:
    """Say of a model whose files are damaged that it cannot be loaded, as loading would."""
    try:
        yield
    except (ModelError, StorageError):
        raise
    except (BundleError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"cannot load the model {folder}: {reason}") from error


def stored_blocks(folder: Path) -> tuple[Mapping[str, StoredTensor], ...]:
    """Find the tensors of each block of a model, by their names in the block.

    Raises:
        ModelError: it is damaged, or lacks one.
    """
    config = model_config(folder)
    row = family_of(config)
    names = row.block_tensors(config)
    blocks: tuple[dict[str, StoredTensor], ...] = tuple({} for _ in range(row.count(config)))
    for path in weight_files(folder):
        for name, tensor in stored(path):
            split = _block_of(row, name)
            if split and split[0] < len(blocks) and split[1] in names:
                blocks[split[0]].setdefault(split[1], tensor)
    for i, block in enumerate(blocks):
        if lacking := sorted(names.keys() - block.keys()):
            raise ModelError(f"the model {folder} lacks {row.tensor_name(i, lacking[0])}")
    return blocks


def changed(path: Path) -> ModelError:
    """Make the error for a file that lacks what its header announces."""
    return ModelError(f"{path} was changed while it was read; run it again")


def model_config(folder: Path) -> dict[str, Any]:
    """Read the config of a model.

    Raises:
        ModelError: it cannot be read.
    """
    return _json(folder / "config.json")


def _block_of(row: Family, name: str) -> tuple[int, str] | None:
    name = row.current_name(name)
    # the first files of some families lack the outermost name
    return row.block_of(name) or row.block_of(f"{row.base}.{name}")


def named_tensors(folder: Path) -> Iterator[tuple[int, str, StoredTensor]]:
    """Find the tensors of blocks by their family's names: block, name in the block, tensor.

    Raises:
        ModelError: the model has no config, or its family is unknown.
    """
    with damage_reported(folder):
        row = family_of(model_config(folder))
        for path in weight_files(folder):
            for name, tensor in stored(path):
                if split := _block_of(row, name):
                    yield *split, tensor


def weight_files(folder: Path) -> list[Path]:
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
    except FileNotFoundError as error:
        raise ModelError(f"the model {path.parent} has no {path.name}; check the folder") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot load the model {path.parent}: {path.name}: {error}") from error
    return content


def stored(path: Path) -> Iterator[tuple[str, StoredTensor]]:
    """Find the tensors of a file by the names that it has for them; numbers of a model alone."""
    kinds = {name: (shape, dtype) for name, shape, dtype in headers(path)}
    with disk_errors(path), path.open("rb") as file:
        size = int.from_bytes(file.read(_LENGTH), "little")
        header = json.loads(file.read(min(size, _LARGEST_HEADER)))
    for name, (shape, dtype) in kinds.items():
        if dtype in SIZES:
            start = _LENGTH + size + header[name]["data_offsets"][0]
            yield name, StoredTensor(path, dtype, shape, start)


def _digest(tensor: StoredTensor) -> str:
    return _known(tensor, sketched=False)[0]


def _known(tensor: StoredTensor, sketched: bool = True) -> tuple[str, Sketch | None]:
    """Digest a tensor as it is stored, and sketch it if it is a matrix."""
    exact = hashlib.sha256(f"{tensor.dtype} {tensor.shape}\n".encode())
    sketcher = None
    if sketched and len(tensor.shape) > 1:
        sketcher = Sketcher(prod(tensor.shape[:-1]), tensor.columns)
    for raw in tensor.pieces():
        exact.update(raw)
        if sketcher is not None:
            sketcher.add(tensor.values(raw))
    return exact.hexdigest(), sketcher.sketch() if sketcher is not None else None
