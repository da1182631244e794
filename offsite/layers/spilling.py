"""Tensors in a scratch file, so that memory holds none of them."""

import weakref
from collections.abc import Iterator, MutableMapping
from math import prod
from os import SEEK_END
from pathlib import Path
from tempfile import TemporaryFile, gettempdir

import torch
from torch import Tensor

from offsite.layers.writing import piece_of
from offsite.store import disk_errors


class Spilled(MutableMapping[str, Tensor]):
    """Tensors in a file without a name, which is gone when the process ends.

    What is read is a copy, on the CPU.

    Args:
        folder: where the file is; None: in the system's temporary folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or Path(gettempdir())
        self._file = TemporaryFile(dir=self._folder)  # noqa: SIM115 - lives as long as the mapping
        weakref.finalize(self, self._file.close)
        self._places: dict[str, tuple[int, torch.Size, torch.dtype]] = {}

    def __deepcopy__(self, _memo: object) -> "Spilled":
        made = Spilled(self._folder)
        made.update(self)
        return made

    def __getitem__(self, name: str) -> Tensor:
        start, shape, dtype = self._places[name]
        tensor = torch.empty(shape, dtype=dtype)
        with disk_errors(self._folder):
            self._file.seek(start)
            self._file.readinto(piece_of(tensor))
        return tensor

    def __setitem__(self, name: str, tensor: Tensor) -> None:
        """Write a tensor, over the one before if that is as large."""
        plain = tensor.detach().cpu().contiguous()
        start, shape, dtype = self._places.get(name, (0, torch.Size([0]), plain.dtype))
        with disk_errors(self._folder):
            if prod(shape) * dtype.itemsize == plain.nbytes:
                self._file.seek(start)
            else:
                start = self._file.seek(0, SEEK_END)
            self._file.write(piece_of(plain))
            self._file.flush()
        self._places[name] = start, plain.shape, plain.dtype

    def __delitem__(self, name: str) -> None:
        del self._places[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)
