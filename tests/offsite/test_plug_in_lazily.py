"""An adapter in a model whose blocks stay on the disk makes what it makes of a loaded model."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from offsite.bundle import EmulatorRecord
from offsite.bundle.changes import Place
from offsite.layers import Loaded, blocks, final_hidden, inference, load, open_lazily, save
from offsite.layers.tensors import Stored
from offsite.plugin import plug_in, trying
from offsite_testing.core import DROPPED, record_of
from offsite_testing.forms import FORMS, Form, own_emulator, randomise
from offsite_testing.models import save_tiny
from offsite_testing.tiny import some_inputs

each_form = pytest.mark.parametrize("form", [FORMS[0], FORMS[2]], ids="-".join)


def prepared(folder: Path, name: str, form: Form) -> tuple[EmulatorRecord, dict[str, Tensor]]:
    """Write a model in bfloat16; return the record of its emulator, and an adapter for that."""
    model = save_tiny(folder, name, dtype=torch.bfloat16)
    attached = form.attach(own_emulator(model, DROPPED), DROPPED)
    randomise(attached)
    allowed = {"allowed": ((form.method, form.scope),)}
    record = record_of(model, DROPPED).model_copy(update=allowed)
    return record, dict(attached.changes())


def written(model: Loaded, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    save(model, folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def hidden_states(model: Loaded) -> Tensor:
    with inference():
        return final_hidden(model.model, some_inputs(model.model))


@each_form
@pytest.mark.parametrize("name", ["gpt2", "llama", "gpt_neox", "vit"])
def test_it_is_that_of_a_loaded_model(tmp_path: Path, name: str, form: Form) -> None:
    record, changes = prepared(tmp_path / "model", name, form)
    told = list[dict[Place, float]]()
    both = load(tmp_path / "model"), open_lazily(tmp_path / "model")
    for model in both:
        how: dict[str, Any] = {"alpha": 0.5, "dtype": model.dtype}
        told.append(plug_in(model.model, changes, form.facts, record, **how))
    assert told[0] == told[1]
    assert torch.equal(hidden_states(both[0]), hidden_states(both[1]))
    assert written(both[0], tmp_path / "one") == written(both[1], tmp_path / "other")
    assert all(p.is_meta for block in blocks(both[1].model) for p in block.parameters())


@each_form
def test_what_was_tried_leaves_nothing(tmp_path: Path, form: Form) -> None:
    record, changes = prepared(tmp_path / "model", "llama", form)
    model = open_lazily(tmp_path / "model")
    before = hidden_states(model)
    with trying(model.model, changes, form.facts, record, dtype=model.dtype):
        assert not torch.equal(hidden_states(model), before)
        with trying(model.model, changes, form.facts, record, dtype=model.dtype):
            pass
        assert not torch.equal(hidden_states(model), before)
    assert torch.equal(hidden_states(model), before)
    original = (tmp_path / "model" / "model.safetensors").read_bytes()
    assert written(model, tmp_path / "again")["model.safetensors"] == original


def test_the_tensors_of_an_adapter_are_read_from_its_file(tmp_path: Path) -> None:
    save_tiny(tmp_path)
    path = tmp_path / "model.safetensors"
    found, held = Stored.in_file(path), load(tmp_path).model.state_dict()
    assert found.keys() == held.keys()
    assert all(torch.equal(found[name], held[name]) for name in held)
