"""A change of a part of a tensor reaches those rows and columns of the full one, and no others.

The parts are those of a narrower MLP; the family's row names the axis of the MLP. These tests cover
plug-in by such a record. A method that makes such an emulator is tested on its own.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from offsite.bundle import BlockRecord, EmulatorRecord, outside_of
from offsite.bundle.changes import Place
from offsite.bundle.plugged import check_plugged_weights
from offsite.bundle.record import OutsideTensor
from offsite.bundle.selection import Selection
from offsite.bundle.weights import model_config
from offsite.errors import BundleError, InputError, ModelError
from offsite.families import Family, Linear
from offsite.layers import family
from offsite.plugin import plug_in
from offsite_testing.core import DROPPED, changed, each_text_family, record_of, snapshot
from offsite_testing.forms import FORMS, Form
from offsite_testing.tiny import tiny_model

NEURONS = (0, 3, 4, 9, 11)
NAMES = ["llama", "gpt2", "opt"]
"""Gated; stored (in, out), with biases; stored (out, in), with biases."""


def parts_of(row: Family, tensors: Mapping[str, Any], neurons: tuple[int, ...]) -> Any:
    """Select neurons of the MLP: the axes that the family's row calls F."""
    index = dict[str, Selection]()
    for module in row.block:
        if isinstance(module, Linear) and "F" in (module.in_, module.out):
            # of a matrix (out, in), or (in, out) where the family stores it so
            first = (module.out == "F") is not row.transposed
            index[f"{module.name}.weight"] = (
                Selection(rows=neurons) if first else Selection(columns=neurons)
            )
            if module.out == "F" and f"{module.name}.bias" in tensors:
                index[f"{module.name}.bias"] = Selection(rows=neurons)
    return index


def narrow(record: EmulatorRecord, model: PreTrainedModel, place: int) -> EmulatorRecord:
    """Record that one block of an emulator has some neurons of the full one alone."""
    row, block = family(model), record.blocks[place]
    index = parts_of(row, block.tensors, NEURONS)
    shapes = {n: index.get(n, Selection()).shape(shape) for n, shape in block.tensors.items()}
    sizes = row.sizes(model.config.to_dict()) | {"F": len(NEURONS)}
    linears = {
        f"{module.name}.weight": (sizes[module.in_], sizes[module.out])
        for module in row.block
        if isinstance(module, Linear)
    }
    narrower = BlockRecord(full=block.full, end=False, tensors=shapes, linears=linears, index=index)
    narrower.check_parts(block.tensors)
    every = (*record.blocks[:place], narrower, *record.blocks[place + 1 :])
    return record.model_copy(update={"blocks": every})


def drawn(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Draw an adapter that holds what a record expects."""
    draw = torch.Generator().manual_seed(5)
    return {name: torch.randn(shape, generator=draw) * 0.1 for name, shape in shapes.items()}


def scattered(change: Tensor, selection: Selection, full: Tensor) -> Tensor:
    """Put a change into zeros of the full shape, one number at a time."""
    whole = torch.zeros(full.shape)
    rows = selection.rows or range(full.shape[0])
    if full.ndim == 1:
        for i, row in enumerate(rows):
            whole[row] = change[i]
        return whole
    columns = selection.columns or range(full.shape[1])
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            whole[row, column] = change[i, j]
    return whole


@pytest.mark.parametrize("piece", [1, 40, 1 << 22])
@pytest.mark.parametrize("name", NAMES)
def test_lora_of_a_narrower_mlp_is_added_at_its_neurons(
    name: str, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offsite.plugin._PIECE", piece)
    model, form, place = tiny_model(name), FORMS[0], 1
    row, record = family(model), narrow(record_of(model, DROPPED), model, place)
    record = record.model_copy(update={"allowed": ((form.method, form.scope),)})
    full = record.blocks[place].full
    sent = drawn(record.expected(form.method, form.scope, form.rank))
    before = snapshot(model)
    told = plug_in(model, sent, form.facts, record, alpha=0.5)
    after = model.state_dict()
    assert told.keys() == record.reach().keys()
    for weight, selection in record.blocks[place].index.items():
        if weight not in record.blocks[place].linears:
            continue
        a, b = (sent[f"blocks.{place}.{weight}.lora_{each}"] for each in "AB")
        change = (b @ a).T if row.transposed else b @ a
        stored = row.tensor_name(full, weight)
        wanted = before[stored] + 0.5 * scattered(change, selection, before[stored])
        assert torch.allclose(after[stored], wanted, atol=1e-6)
        assert told[Place(full, weight)] == pytest.approx(
            float((wanted - before[stored]).norm() / before[stored].norm()), rel=1e-3
        )


@pytest.mark.parametrize("name", NAMES)
def test_whole_tensors_of_a_narrower_mlp_are_added_at_their_neurons(name: str) -> None:
    """Biases among them, which LoRA does not touch."""
    model, form, place = tiny_model(name), Form("Blocks", "All"), 1
    record = narrow(record_of(model, DROPPED), model, place)
    record = record.model_copy(update={"allowed": (("Blocks", "All"),)})
    row, block = family(model), record.blocks[place]
    sent = drawn(record.expected("Blocks", "All", 0))
    before = snapshot(model)
    plug_in(model, sent, form.facts, record)
    after = model.state_dict()
    for weight in block.tensors:
        stored = row.tensor_name(block.full, weight)
        part = block.index.get(weight, Selection())
        change = scattered(sent[f"blocks.{place}.{weight}.change"], part, before[stored])
        assert torch.allclose(after[stored], before[stored] + change, atol=1e-6)


def plugged(folder: Path, name: str) -> tuple[EmulatorRecord, dict[Place, float]]:
    """Write a model, and what became of it with an adapter of a narrower emulator."""
    model, form = nn.Module.to(tiny_model(name), torch.bfloat16), FORMS[0]
    record = narrow(record_of(model, DROPPED), model, 1)
    record = record.model_copy(update={"allowed": ((form.method, form.scope),)})
    model.save_pretrained(folder / "model")
    sent = drawn(record.expected(form.method, form.scope, form.rank))
    told = plug_in(model, sent, form.facts, record)
    model.save_pretrained(folder / "made")
    return record, told


def check(folder: Path, record: EmulatorRecord, most: float) -> None:
    model = folder / "model"
    check_plugged_weights(folder / "made", model, model_config(model), record, most, "tuned")


@pytest.mark.parametrize("name", NAMES)
def test_files_are_compared_as_memory_was(name: str, tmp_path: Path) -> None:
    record, told = plugged(tmp_path, name)
    largest = max(told.values())
    check(tmp_path, record, largest * (1 + 1e-9))
    with pytest.raises(BundleError, match=r"\(maxChange\)"):
        check(tmp_path, record, largest * (1 - 1e-9))


def flip(folder: Path, name: str, at: tuple[int, int]) -> None:
    """Change the last bit of one number of a plugged-in model."""
    path = folder / "made/model.safetensors"
    found = load_file(path)
    with safe_open(path, "pt") as old:
        kept = old.metadata()
    found[name].view(torch.int16)[at] ^= 1
    save_file(found, path, kept)


INSIDE, OUTSIDE = NEURONS[1], 5
FLIPS = {
    "a neuron of the part": ("up_proj", (INSIDE, 0), True),
    "another neuron": ("up_proj", (OUTSIDE, 0), False),
    "a column of the part": ("down_proj", (0, INSIDE), True),
    "another column": ("down_proj", (0, OUTSIDE), False),
    "the last row, another column": ("down_proj", (-1, OUTSIDE), False),
}


@pytest.mark.parametrize("what", FLIPS)
def test_what_is_outside_the_part_is_the_models_own(what: str, tmp_path: Path) -> None:
    module, at, allowed = FLIPS[what]
    record, _ = plugged(tmp_path, "llama")
    flip(tmp_path, f"model.layers.{record.blocks[1].full}.mlp.{module}.weight", at)
    if allowed:
        check(tmp_path, record, 1e6)
        return
    with pytest.raises(InputError, match=r"may not change all of it"):
        check(tmp_path, record, 1e6)


def with_head(model: PreTrainedModel) -> EmulatorRecord:
    """Let an adapter change what stands for the head of a family that has one."""
    row = replace(family(model), heads={"head": "lm_head"})
    outside = outside_of(row, model.config.to_dict())
    shape = tuple(model.get_parameter("lm_head.weight").shape)
    assert outside == {"head.weight": OutsideTensor(tensor="lm_head.weight", shape=shape)}
    return record_of(model, DROPPED).model_copy(update={"outside": outside})


@each_text_family
def test_language_models_have_nothing_to_change_outside_the_blocks(name: str) -> None:
    model = tiny_model(name)
    assert outside_of(family(model), model.config.to_dict()) == {}


@pytest.mark.parametrize("form", [FORMS[0], FORMS[2]], ids="-".join)
def test_a_tensor_outside_the_blocks_is_changed_as_recorded(form: Form, tmp_path: Path) -> None:
    model = tiny_model("llama")
    record = with_head(model)
    sent = drawn(record.expected(form.method, form.scope, form.rank, ("head",)))
    model.save_pretrained(tmp_path / "model")
    before = snapshot(model)
    told = plug_in(model, sent, form.facts, record, alpha=0.5)
    model.save_pretrained(tmp_path / "made")
    wanted = before["lm_head.weight"] + 0.5 * sent["head.weight.change"]
    assert torch.allclose(model.state_dict()["lm_head.weight"], wanted, atol=1e-6)
    head = Place(None, "lm_head.weight")
    assert told[head] == pytest.approx(
        float((wanted - before["lm_head.weight"]).norm() / before["lm_head.weight"].norm()),
        rel=1e-3,
    )
    assert "model.embed_tokens.weight" not in changed(before, model)
    check(tmp_path, record, 1e6)
    with pytest.raises(ModelError, match=r"lm_head.weight is not that of the model"):
        check(tmp_path, record.model_copy(update={"outside": {}}), 1e6)
    with pytest.raises(BundleError, match=r"\(maxChange\)"):
        check(tmp_path, record, max(told.values()) * (1 - 1e-6))
