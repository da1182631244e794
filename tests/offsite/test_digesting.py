"""Digests that are computed from reads of tensors are those of the files."""

import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from offsite.bundle.digesting import Digests
from offsite.bundle.manifest import entry_of
from offsite.bundle.weights import StoredTensor, stored
from offsite.errors import ModelError


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Write two files of three tensors, of which one takes several pieces."""
    paths = [tmp_path / "one.safetensors", tmp_path / "two.safetensors"]
    for seed, path in enumerate(paths):
        draw = torch.Generator().manual_seed(seed)
        shapes = {"large": (700, 500), "matrix": (30, 7), "vector": (5,)}
        save_file({k: torch.randn(size, generator=draw) for k, size in shapes.items()}, path)
    return paths


def tensors_in(paths: list[Path]) -> list[StoredTensor]:
    return [tensor for path in paths for _, tensor in stored(path)]


@pytest.mark.parametrize("seed", range(4))
def test_tensors_and_digests_are_those_of_the_files_in_any_order(
    files: list[Path], seed: int
) -> None:
    tensors = tensors_in(files)
    random.Random(seed).shuffle(tensors)
    with Digests() as digests:
        for tensor in tensors[:4]:
            assert list(digests.pieces(tensor)) == list(tensor.pieces())
        assert [digests.of(path) for path in files] == [entry_of(path) for path in files]


def test_a_file_that_became_shorter_is_told(files: list[Path]) -> None:
    last = tensors_in(files[:1])[-1]
    files[0].write_bytes(files[0].read_bytes()[:-8])
    with Digests() as digests, pytest.raises(ModelError, match="was changed while it was read"):
        list(digests.pieces(last))
