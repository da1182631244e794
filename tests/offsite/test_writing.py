"""Weights that are written tensor by tensor are the files that transformers writes at once."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from offsite.layers import load, quiet, save
from offsite.layers.writing import write_weights
from offsite_testing.models import save_tiny
from offsite_testing.tiny import FAMILIES_UNDER_TEST, VARIANTS, tiny_model

EVERY = (*((name, dict[str, Any]()) for name in FAMILIES_UNDER_TEST), *VARIANTS)


def by_name(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def written_by_transformers(
    model: PreTrainedModel, folder: Path, dtype: torch.dtype, shard: str
) -> dict[str, bytes]:
    nn.Module.to(model, dtype)
    with quiet():
        model.save_pretrained(folder, max_shard_size=shard)
    return by_name(folder)


@pytest.mark.parametrize(("name", "over"), EVERY, ids=str)
def test_the_files_are_those_of_transformers(
    tmp_path: Path, name: str, over: dict[str, Any]
) -> None:
    model = tiny_model(name, **over)
    (ours := tmp_path / "ours").mkdir()
    found = write_weights(model, model.state_dict(), ours, torch.bfloat16, "50KB")
    theirs = written_by_transformers(model, tmp_path / "theirs", torch.bfloat16, "50KB")
    weights = {name: content for name, content in theirs.items() if "safetensors" in name}
    assert len(weights) > 2
    assert by_name(ours) == weights
    assert {name: entry.size for name, entry in found.items()} == {
        name: len(content) for name, content in weights.items()
    }
    assert {name: entry.sha256 for name, entry in found.items()} == {
        name: hashlib.sha256(content).hexdigest() for name, content in weights.items()
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("name", ["llama", "gpt_neox", "vit"])
def test_a_saved_model_is_that_of_transformers(
    tmp_path: Path, name: str, dtype: torch.dtype
) -> None:
    save_tiny(tmp_path / "model", name, dtype=dtype)
    model = load(tmp_path / "model")
    (ours := tmp_path / "ours").mkdir()
    save(model, ours)
    theirs = written_by_transformers(model.model, tmp_path / "theirs", dtype, "2GB")
    assert theirs.items() <= by_name(ours).items()


class Counting(Mapping[str, Tensor]):
    """A mapping that notes what is read of it."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors, self.reads = tensors, list[str]()

    def __getitem__(self, name: str) -> Tensor:
        self.reads.append(name)
        return self.tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)


def test_each_tensor_is_read_once_while_the_model_is_on_the_meta_device(tmp_path: Path) -> None:
    model = tiny_model("llama", tie_word_embeddings=True)
    tensors = Counting({name: tensor.clone() for name, tensor in model.state_dict().items()})
    (ours := tmp_path / "ours").mkdir()
    nn.Module.to(model, "meta")
    model.tie_weights()
    write_weights(model, tensors, ours, torch.float32)
    assert sorted(tensors.reads) == sorted(tensors.tensors.keys() - {"lm_head.weight"})
    held = load_file(ours / "model.safetensors")
    assert all(torch.equal(held[name], tensors.tensors[name]) for name in held)
