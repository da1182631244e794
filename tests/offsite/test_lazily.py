"""A model that is opened lazily computes what a loaded one does, and keeps no block in memory."""

import copy
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from offsite.errors import ModelError
from offsite.layers import (
    blocks,
    final_hidden,
    inference,
    load,
    open_lazily,
    resident,
    save,
    tensors_of,
)
from offsite_testing.core import each_family
from offsite_testing.models import save_tiny
from offsite_testing.tiny import some_inputs


def hidden_states(model: PreTrainedModel) -> Tensor:
    with inference():
        return final_hidden(model, some_inputs(model))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def in_memory(model: PreTrainedModel) -> set[int]:
    """List the blocks of which a tensor is in memory."""
    stack = enumerate(blocks(model))
    return {place for place, block in stack if not all(p.is_meta for p in block.parameters())}


@each_family
def test_it_computes_what_a_loaded_model_does(name: str, tmp_path: Path) -> None:
    save_tiny(tmp_path / "model", name, dtype=torch.bfloat16)
    whole, lazy = load(tmp_path / "model"), open_lazily(tmp_path / "model")
    assert (lazy.dtype, lazy.size) == (whole.dtype, whole.size)
    assert in_memory(lazy.model) == set()
    assert torch.equal(hidden_states(lazy.model), hidden_states(whole.model))
    assert in_memory(lazy.model) == set()
    stored, expected = lazy.tensors, whole.model.state_dict()
    assert all(torch.equal(stored[each].float(), expected[each]) for each in stored)
    assert {each.dtype for each in stored.values()} == {torch.bfloat16}
    (tmp_path / "lazy").mkdir()
    (tmp_path / "whole").mkdir()
    assert save(lazy, tmp_path / "lazy") == save(whole, tmp_path / "whole")
    assert contents(tmp_path / "lazy") == contents(tmp_path / "whole")


def test_blocks_stay_in_memory_where_somebody_keeps_them(tmp_path: Path) -> None:
    save_tiny(tmp_path)
    model = open_lazily(tmp_path).model
    with resident(blocks(model)[1], blocks(model)[2]):
        hidden_states(model)
        assert in_memory(model) == {1, 2}
    assert in_memory(model) == set()


@pytest.mark.parametrize("spilled", [True, False])
def test_a_copy_changes_for_itself(spilled: bool, tmp_path: Path) -> None:
    save_tiny(tmp_path)
    model = open_lazily(tmp_path, tmp_path if spilled else None).model
    names = ("model.norm.weight", "model.layers.3.mlp.down_proj.weight")
    for name in names:
        tensors_of(model)[name] = tensors_of(model)[name] * 2
    made, before = copy.deepcopy(model), hidden_states(model)
    assert torch.equal(hidden_states(made), before)
    for name in names:
        tensors_of(made)[name] = tensors_of(made)[name] * 2
        assert not torch.equal(hidden_states(made), before)
    assert torch.equal(hidden_states(model), before)
    assert in_memory(made) == set()


def test_a_failed_block_leaves_memory(tmp_path: Path) -> None:
    save_tiny(tmp_path)
    model = open_lazily(tmp_path).model
    with pytest.raises(AttributeError):
        blocks(model)[0]("no tensor")
    assert in_memory(model) == set()


@pytest.mark.parametrize("spilled", [True, False])
@pytest.mark.parametrize("lazy", [True, False])
def test_a_changed_tensor_counts_until_it_is_restored(
    lazy: bool, spilled: bool, tmp_path: Path
) -> None:
    save_tiny(tmp_path, dtype=torch.bfloat16)
    opened = open_lazily(tmp_path, tmp_path if spilled else None) if lazy else load(tmp_path)
    tensors, before = tensors_of(opened.model), hidden_states(opened.model)
    for name in ("model.norm.weight", "model.layers.3.mlp.down_proj.weight"):
        tensors[name] = tensors[name].float() * 2
        assert not torch.equal(hidden_states(opened.model), before)
        del tensors[name]
        assert torch.equal(hidden_states(opened.model), before)


def test_the_generation_config_of_the_folder_counts(tmp_path: Path) -> None:
    save_tiny(tmp_path, dtype=torch.bfloat16)
    path = tmp_path / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "temperature": 0.5}))
    found = open_lazily(tmp_path).model.generation_config
    assert found == load(tmp_path).model.generation_config
    assert found is not None
    assert found.temperature == 0.5


@pytest.mark.parametrize("name", ["model.norm.weight", "model.layers.4.mlp.up_proj.weight"])
def test_a_value_that_is_not_finite_is_found_when_it_is_read(name: str, tmp_path: Path) -> None:
    save_tiny(tmp_path, dtype=torch.bfloat16)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors[name].view(-1)[-1] = torch.inf
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=f"{name} that is not finite"):
        hidden_states(open_lazily(tmp_path).model)


def test_a_head_that_differs_from_its_tied_table_is_refused(tmp_path: Path) -> None:
    save_tiny(tmp_path, "gpt2")
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["lm_head.weight"] = tensors["transformer.wte.weight"] * 2
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="differs from the token table"):
        open_lazily(tmp_path)
