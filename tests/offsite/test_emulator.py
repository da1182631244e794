"""An emulator of all blocks is the model; one of fewer is a normal model without the others."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoModelForImageClassification, PreTrainedModel

from offsite.api import Ends, LayerDrop
from offsite.bundle import BlockRecord
from offsite.emulator import METHODS, share_of
from offsite.emulator.layer_drop import Layout, drop_layers
from offsite.errors import ModelError
from offsite.families import Checkpoint, family_of
from offsite.layers import (
    Loaded,
    blocks,
    family,
    load,
    modality_of,
    quiet,
    run,
    save,
    trace,
    watching,
)
from offsite.modality import Text
from offsite_testing.core import (
    DROPPED,
    WHOLE,
    cases_where,
    changed,
    each_case,
    each_family,
    each_text_family,
    logits,
    raw,
    same_bytes,
    snapshot,
    some_tokens,
)
from offsite_testing.core import loaded as loaded_of
from offsite_testing.models import save_tiny
from offsite_testing.tiny import DEPTH, some_inputs, tiny_model

each_dtype = pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32], ids=lambda dtype: str(dtype)[6:]
)
each_tied = cases_where(lambda model: bool(getattr(model.config, "tie_word_embeddings", False)))


def stored(folder: Path) -> dict[str, Tensor]:
    """Read every tensor of a model's files, by its name in the family table."""
    config = json.loads((folder / "config.json").read_bytes())
    checkpoint = Checkpoint.of(family_of(config), config)
    found = (item for path in folder.glob("*.safetensors") for item in load_file(path).items())
    return {checkpoint.name(name) or name: tensor for name, tensor in found}


def publish(model: PreTrainedModel, layout: Layout, folder: Path) -> Path:
    """Write an emulator of a model in memory."""
    folder.mkdir()
    save(replace(loaded_of(model), model=drop_layers(model, layout)), folder)
    return folder


def opened(folder: Path) -> PreTrainedModel:
    """Open a folder as anybody would."""
    with quiet():
        text = modality_of(folder) is Text
        opens: Any = AutoModelForCausalLM if text else AutoModelForImageClassification
        model: PreTrainedModel = opens.from_pretrained(folder)
    model.eval()
    return model


@each_case
def test_an_emulator_of_all_blocks_is_the_model(name: str, over: dict[str, Any]) -> None:
    model = tiny_model(name, **over)
    expected = logits(model)
    assert torch.equal(logits(drop_layers(model, WHOLE)), expected)
    assert not torch.allclose(logits(drop_layers(model, DROPPED)), expected, atol=1e-2)


@each_dtype
@each_family
def test_a_bundle_of_all_blocks_is_the_sharded_model_on_disk(
    name: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    save_tiny(tmp_path / "model", name, dtype=dtype, shard="20KB")
    assert len(list((tmp_path / "model").glob("*.safetensors"))) > 1
    loaded = load(tmp_path / "model")
    expected, before = logits(loaded.model), snapshot(loaded.model)
    emulator = drop_layers(loaded.model, WHOLE)
    assert torch.equal(logits(emulator), expected)
    (tmp_path / "bundle").mkdir()
    save(Loaded(emulator, loaded.modality, loaded.dtype), tmp_path / "bundle")
    assert changed(before, loaded.model) == set()
    assert torch.equal(logits(load(tmp_path / "bundle").model), expected)
    kept, original = stored(tmp_path / "bundle"), stored(tmp_path / "model")
    assert {tensor.dtype for tensor in kept.values()} == {dtype}
    assert {n: raw(t) for n, t in kept.items()} == {n: raw(t) for n, t in original.items()}


@each_case
def test_an_emulator_runs_its_blocks_as_the_model_did(name: str, over: dict[str, Any]) -> None:
    model = tiny_model(name, **over)
    emulator = drop_layers(model, DROPPED)
    with torch.no_grad():
        traced = trace(model, some_inputs(model))
        calls = [traced.calls[full] for full in DROPPED.kept]
        expected = run([blocks(model)[full] for full in DROPPED.kept], traced.hidden, calls)
        with watching(blocks(emulator)[-1]) as seen:
            logits(emulator)
    assert torch.equal(seen[0], expected)


@each_text_family
def test_an_emulator_generates_with_its_cache_what_it_does_without(
    name: str, tmp_path: Path
) -> None:
    emulator = opened(publish(tiny_model(name, vocab_size=288), DROPPED, tmp_path / "bundle"))
    length = {"max_new_tokens": 12, "min_new_tokens": 12, "do_sample": False, "pad_token_id": 2}
    prompt = {"input_ids": some_tokens(), "attention_mask": torch.ones(2, 14, dtype=torch.long)}
    generate: Any = emulator.generate
    cached = generate(**prompt, use_cache=True, **length)
    assert cached.shape == (2, 26)
    assert torch.equal(cached, generate(**prompt, use_cache=False, **length))


@each_case
def test_a_bundle_holds_nothing_of_the_dropped_blocks(
    name: str, over: dict[str, Any], tmp_path: Path
) -> None:
    model = tiny_model(name, **over)
    held = {raw(tensor) for tensor in stored(publish(model, DROPPED, tmp_path / "bundle")).values()}
    dropped = [block for i, block in enumerate(blocks(model)) if i not in DROPPED.kept]
    withheld = {raw(tensor) for block in dropped for tensor in block.state_dict().values()}
    assert len(dropped) == 2
    assert not held & withheld
    assert held == {raw(tensor) for tensor in model.state_dict().values()} - withheld


@each_case
def test_lists_of_the_config_are_those_of_the_kept_blocks(
    name: str, over: dict[str, Any], tmp_path: Path
) -> None:
    model = tiny_model(name, **over)
    row, full = family(model), model.config.to_dict()
    config = json.loads((publish(model, DROPPED, tmp_path / "bundle") / "config.json").read_text())
    assert row.sized(config)[row.depth] == len(DROPPED.kept)
    for key in row.per_block:
        assert config[key] == [full[key][index] for index in DROPPED.kept]
    for key in row.boundaries:
        assert config[key] == sum(index < full[key] for index in DROPPED.kept)


@each_tied
def test_tied_embeddings_stay_tied(name: str, over: dict[str, Any], tmp_path: Path) -> None:
    save_tiny(tmp_path / "model", name, dtype=torch.bfloat16, **over)
    loaded = load(tmp_path / "model")
    emulator = drop_layers(loaded.model, DROPPED)
    (tmp_path / "bundle").mkdir()
    save(Loaded(emulator, loaded.modality, loaded.dtype), tmp_path / "bundle")
    for model in (loaded.model, emulator, load(tmp_path / "bundle").model):
        table, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
        assert isinstance(table, Tensor)
        assert table.data_ptr() == head.data_ptr()
    copies = [t for t in stored(tmp_path / "bundle").values() if t.shape == table.shape]
    assert len(copies) == 1


def test_an_emulator_shares_its_tensors_with_the_model() -> None:
    model = tiny_model("llama")
    pointers = {tensor.data_ptr() for tensor in model.parameters()}
    assert {tensor.data_ptr() for tensor in drop_layers(model, DROPPED).parameters()} < pointers


def test_an_emulator_is_frozen_and_has_no_dropout() -> None:
    emulator = drop_layers(tiny_model("opt").train(), DROPPED)
    assert not any(parameter.requires_grad for parameter in emulator.parameters())
    assert not any(module.training for module in emulator.modules())


@pytest.mark.parametrize(
    ("keep", "sent", "wanted"), [(2, (), (1, 4)), (2, (2,), (2, 4)), (4, (), (1, 2, 3, 4))]
)
@each_family
def test_a_method_records_what_each_block_was_made_from(
    name: str, keep: int, sent: tuple[int, ...], wanted: tuple[int, ...]
) -> None:
    model, method = tiny_model(name), METHODS["LayerDrop"]
    ends, asked = Ends(bottom=1, top=1), LayerDrop(blocks=keep)
    chosen = method.choose(DEPTH, ends, asked, sent)
    made = method.compress(model, ends, asked, chosen)
    assert chosen == (0, *wanted, DEPTH - 1)
    assert [(block.full, block.end) for block in made.blocks] == [
        (full, full in (0, DEPTH - 1)) for full in chosen
    ]
    assert made.share == keep / (DEPTH - 2)
    assert (made.middle, made.ends) == (range(1, keep + 1), (0, keep + 1))
    assert made.replaced == slice(1, DEPTH - 1)
    stack, full_stack = blocks(made.model), blocks(model)
    for place, block in enumerate(made.blocks):
        own, full = (
            dict(each.named_parameters()) for each in (stack[place], full_stack[block.full])
        )
        assert block.tensors == {name: tuple(value.shape) for name, value in own.items()}
        block.check_parts({name: tuple(value.shape) for name, value in full.items()})
        assert all(torch.equal(own[name], full[name]) for name in full)


def test_share_counts_numbers_of_the_middle() -> None:
    full = {"w": (4, 6), "b": (4,)}
    half = {"w": (2, 6), "b": (2,)}
    told = [(0, True, full), (1, False, half), (2, False, full), (5, True, full)]
    made = [BlockRecord(full=f, end=e, tensors=t, linears={}) for f, e, t in told]
    # of the four blocks between the ends: one, and half of another
    assert share_of(made, full, 6) == 1.5 / 4


@pytest.mark.parametrize("middle", [1, 2, 3, 8, 26, 30, 97])
def test_kept_blocks_are_evenly_spread(middle: int) -> None:
    for keep in range(1, middle + 1):
        stride = Fraction(middle - 1, max(1, keep - 1))
        wanted = [2 + round(i * stride) for i in range(keep)]
        layout = Layout.uniform(middle + 5, 2, 3, keep)
        assert layout.kept == (0, 1, *wanted, middle + 2, middle + 3, middle + 4)
        assert range(len(layout.kept))[layout.middle] == range(2, keep + 2)
        assert layout.ends == (0, 1, keep + 2, keep + 3, keep + 4)


def test_one_kept_block_is_the_first_and_all_are_all() -> None:
    assert Layout.uniform(10, 2, 2, 1).kept == (0, 1, 2, 8, 9)
    assert Layout.uniform(10, 2, 2, 6).kept == tuple(range(10))


@pytest.mark.parametrize(("depth", "left"), [(10, 4), (6, 0), (3, 0)])
def test_more_blocks_than_there_are_is_an_error(depth: int, left: int) -> None:
    with pytest.raises(ModelError, match=f"{depth} blocks: ends of 3 . 3 leave {left} .* is 5"):
        Layout.uniform(depth, 3, 3, 5)


@each_case
def test_buffers_keep_the_rounding_of_the_loaded_model(name: str, over: dict[str, Any]) -> None:
    model = nn.Module.to(tiny_model(name, **over), torch.bfloat16)
    buffers = dict(drop_layers(model, WHOLE).named_buffers())
    for path, buffer in model.named_buffers():
        assert same_bytes(buffers[path], buffer)
