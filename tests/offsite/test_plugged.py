"""A plugged-in model is compared with its full model, tensor by tensor, where torch is not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from offsite.bundle import EmulatorRecord
from offsite.bundle.changes import Place
from offsite.bundle.plugged import check_plugged_weights
from offsite.bundle.weights import model_config
from offsite.errors import BundleError, InputError
from offsite.plugin import plug_in
from offsite_testing.core import DROPPED, each_case, record_of
from offsite_testing.forms import FORMS, Form, own_emulator, randomise
from offsite_testing.tiny import tiny_model

DTYPES = {"LoRA": torch.bfloat16, "Blocks": torch.float16}


def plugged(
    folder: Path, model: PreTrainedModel, form: Form
) -> tuple[EmulatorRecord, dict[Place, float]]:
    """Save a model, and what became of it with an adapter; say how much each weight changed."""
    allowed = {"allowed": ((form.method, form.scope),)}
    record = record_of(model, DROPPED).model_copy(update=allowed)
    attached = form.attach(own_emulator(model, DROPPED), DROPPED)
    randomise(attached)
    nn.Module.to(model, DTYPES[form.method])
    model.save_pretrained(folder / "model")
    told = plug_in(model, attached.changes(), form.facts, record)
    model.save_pretrained(folder / "made", max_shard_size="20KB")
    return record, told


def check(folder: Path, record: EmulatorRecord, most: float) -> None:
    model = folder / "model"
    check_plugged_weights(folder / "made", model, model_config(model), record, most, "tuned")


@pytest.mark.parametrize("form", [FORMS[0], FORMS[2]], ids="-".join)
@each_case
def test_it_is_measured_in_its_files_as_it_was_in_memory(
    name: str, over: dict[str, Any], form: Form, tmp_path: Path
) -> None:
    record, told = plugged(tmp_path, tiny_model(name, **over), form)
    assert record.reach().keys() == told.keys()
    largest = max(told.values())
    check(tmp_path, record, largest * (1 + 1e-9))
    with pytest.raises(BundleError, match=r"the adapter tuned changes .*\(maxChange\)"):
        check(tmp_path, record, largest * (1 - 1e-9))


NORM = "model.layers.0.input_layernorm.weight"
LEFT_OUT = "model.layers.3.mlp.down_proj.weight"
REACHED = "model.layers.0.mlp.down_proj.weight"


def one_bit(name: str) -> Callable[[dict[str, Tensor]], None]:
    def change(found: dict[str, Tensor]) -> None:
        found[name].view(torch.int16).flatten()[-1] ^= 1

    return change


def put(name: str, value: Callable[[Tensor], Tensor]) -> Callable[[dict[str, Tensor]], None]:
    def change(found: dict[str, Tensor]) -> None:
        found[name] = value(found.get(name, torch.ones(4)))

    return change


def infinite(weight: Tensor) -> Tensor:
    weight[0, 0] = torch.inf
    return weight


WRONG: dict[str, tuple[str, Callable[[dict[str, Tensor]], None]]] = {
    "the token table": ("is not that of the model", one_bit("model.embed_tokens.weight")),
    "the head": ("is not that of the model", one_bit("lm_head.weight")),
    "a norm": ("is not that of the model", one_bit(NORM)),
    "a block that was left out": ("is not that of the model", one_bit(LEFT_OUT)),
    "a large change": (r"\(maxChange\)", put(REACHED, lambda weight: weight * 10)),
    "no number": ("is not finite", put(REACHED, infinite)),
    "a buffer": (
        "computed and never saved",
        put("model.layers.0.self_attn.rotary_emb.inv_freq", lambda value: value),
    ),
    "another dtype": ("the dtype", put(REACHED, lambda weight: weight.float())),
    "a tensor more": ("says nothing", put("ring", lambda value: value)),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_the_adapter_may_not_change_is_the_models_own(what: str, tmp_path: Path) -> None:
    said, change = WRONG[what]
    record, _ = plugged(tmp_path, tiny_model("llama"), FORMS[0])
    check(tmp_path, record, 10)
    for path in sorted((tmp_path / "made").glob("*.safetensors")):
        path.unlink()
    (tmp_path / "made/model.safetensors.index.json").unlink()
    path = tmp_path / "made/model.safetensors"
    found = load_file(tmp_path / "model/model.safetensors")
    with safe_open(tmp_path / "model/model.safetensors", "pt") as old:
        kept = old.metadata()
    change(found)
    save_file(found, path, kept)
    with pytest.raises(InputError, match=said):
        check(tmp_path, record, 1)
