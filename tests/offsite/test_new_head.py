"""A new classification head is trained beside the adapter, and is the plugged-in model's own."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForImageClassification, PreTrainedModel

from offsite.adapter import heads
from offsite.bundle import EmulatorRecord, NewHead, head_of, outside_of
from offsite.bundle.plugged import check_plugged_head, check_plugged_weights
from offsite.bundle.weights import model_config
from offsite.errors import InputError
from offsite.layers import family, final_hidden
from offsite.plugin import plug_in
from offsite.steps.places import write_labels
from offsite_testing.core import DROPPED, changed, loaded, logits, record_of, snapshot
from offsite_testing.forms import FORMS, Form, own_emulator, randomise
from offsite_testing.tiny import VISION, some_inputs, tiny_model

LABELS = ("normal", "tumour", "tench, Tinca tinca", "Größe")
DTYPES = {"LoRA": torch.bfloat16, "Blocks": torch.float16}
each_vision_family = pytest.mark.parametrize("name", VISION)
with_and_without = pytest.mark.parametrize("own", [0, 3])


def recorded(model: PreTrainedModel) -> EmulatorRecord:
    row, config = family(model), model.config.to_dict()
    more = {"outside": outside_of(row, config), "head": head_of(row, config)}
    return record_of(model, DROPPED).model_copy(update=more)


def tuned(model: PreTrainedModel, form: Form) -> dict[str, Tensor]:
    """Make an adapter with a new head, of random numbers."""
    emulator = own_emulator(model, DROPPED)
    heads.renew(emulator, LABELS)
    attached, head = form.attach(emulator, DROPPED), heads.attach(emulator, new=True)
    randomise(attached)
    randomise(head)
    return attached.changes() | head.changes()


@with_and_without
@each_vision_family
def test_a_record_says_what_a_new_head_must_be(name: str, own: int) -> None:
    model = tiny_model(name, num_labels=own)
    record = recorded(model)
    assert record.head is not None
    assert (record.head.module, record.head.max_labels) == ("classifier", 4096)
    assert record.head.labels == tuple(f"LABEL_{number}" for number in range(own))
    assert set(record.outside) == ({"head.weight", "head.bias"} if own else set())
    heads.renew(model, LABELS)
    assert recorded(model).head.labels == LABELS  # type: ignore[union-attr]
    assert not logits(model).count_nonzero()
    assert logits(model).shape == (2, len(LABELS))


@with_and_without
@pytest.mark.parametrize("name", ["vit", "dinov2"])
def test_a_head_that_is_trained_reads_another_dtype(name: str, own: int) -> None:
    """As on a GPU that does not multiply in bfloat16."""
    model = tiny_model(name, num_labels=own)
    nn.Module.to(model, torch.float16)
    if not own:
        heads.renew(model, LABELS)
    heads.attach(model, new=not own)
    inputs = {key: value.half() for key, value in some_inputs(model).items()}
    said = loaded(model).modality.predictions(model, final_hidden(model, inputs))
    assert (said.dtype, said.shape) == (torch.float32, (2, own or len(LABELS)))


def plugged(
    folder: Path, name: str, own: int, form: Form
) -> tuple[PreTrainedModel, EmulatorRecord, NewHead, dict[str, Tensor]]:
    """Save a model, and what became of it with an adapter that brings a head."""
    model = tiny_model(name, num_labels=own)
    record = recorded(model).model_copy(update={"allowed": ((form.method, form.scope),)})
    sent = tuned(model, form)
    wanted = record.expected(form.method, form.scope, form.rank, ("head",), len(LABELS))
    assert {key: tuple(value.shape) for key, value in sent.items()} == wanted
    nn.Module.to(model, DTYPES[form.method])
    model.save_pretrained(folder / "model")
    heads.bring(model, LABELS, sent, model.dtype)
    record = record.with_new_head()
    told = plug_in(model, sent, form.facts, record, alpha=0.5)
    assert told.keys() == record.reach().keys()
    assert all(place.block is not None for place in told)
    model.save_pretrained(folder / "made")
    path = folder / "adapter.safetensors"
    save_file(sent, path)
    return model, record, NewHead.of_adapter(path, LABELS), sent


def check(folder: Path, record: EmulatorRecord, head: NewHead | None) -> None:
    model = folder / "model"
    config = model_config(model)
    check_plugged_weights(folder / "made", model, config, record, 1e6, "tuned", head)


@pytest.mark.parametrize(("own", "form"), [(0, FORMS[0]), (3, FORMS[2])])
@each_vision_family
def test_a_new_head_is_the_adapters_own(name: str, own: int, form: Form, tmp_path: Path) -> None:
    model, record, head, sent = plugged(tmp_path, name, own, form)
    for kind in ("weight", "bias"):  # neither added to another, nor scaled by alpha
        value = sent[f"head.{kind}.value"].to(model.dtype)
        assert torch.equal(model.get_parameter(f"classifier.{kind}"), value)
    check(tmp_path, record, head)
    before = model_config(tmp_path / "model")
    (tmp_path / "made/config.json").write_bytes((tmp_path / "model/config.json").read_bytes())
    write_labels(tmp_path / "made", LABELS)
    made = model_config(tmp_path / "made")
    assert {key for key in {*made, *before} if made.get(key) != before.get(key)} == {
        "id2label",
        "label2id",
    }
    opened: Any = AutoModelForImageClassification.from_pretrained(tmp_path / "made")
    assert list(opened.config.id2label.values()) == list(LABELS)
    assert opened.config.label2id["Größe"] == LABELS.index("Größe")
    assert not changed(snapshot(model), nn.Module.to(opened, model.dtype))
    assert logits(model, some_inputs(model)).shape == (2, len(LABELS))


def edit(folder: Path, change: Any) -> None:
    path = folder / "made/model.safetensors"
    found = load_file(path)
    with safe_open(path, "pt") as old:
        kept = old.metadata()
    change(found)
    save_file(found, path, kept)


def flip(name: str) -> Any:
    return lambda found: found[name].view(torch.int16).flatten().__getitem__(0).bitwise_xor_(1)


WRONG: dict[str, tuple[Any, str]] = {
    "a number of the head": (flip("classifier.weight"), "classifier.weight is not that of tuned"),
    "a number of its bias": (flip("classifier.bias"), "classifier.bias is not that of tuned"),
    "classes": (
        lambda found: found.update({"classifier.weight": found["classifier.weight"][:3]}),
        "says",
    ),
    "no head": (lambda found: found.pop("classifier.weight"), "lacks 1 tensors"),
    "two heads": (
        lambda found: found.update({"classifier2.weight": found["classifier.weight"].clone()}),
        "says nothing",
    ),
    "a norm": (flip("vit.layernorm.weight"), "vit.layernorm.weight is not that of the model"),
    "a token": (flip("vit.embeddings.cls_token"), "cls_token is not that of the model"),
}


@pytest.mark.parametrize("what", WRONG)
@with_and_without
def test_a_model_with_another_head_is_not_signed(own: int, what: str, tmp_path: Path) -> None:
    change, said = WRONG[what]
    _, record, head, _ = plugged(tmp_path, "vit", own, FORMS[0])
    check(tmp_path, record, head)
    edit(tmp_path, change)
    with pytest.raises(InputError, match=said):
        check(tmp_path, record, head)


def test_the_config_of_a_model_that_is_not_at_hand_names_the_classes(tmp_path: Path) -> None:
    """Of a model on the hub, the step that signs has nothing to compare but the head."""
    _, _, head, _ = plugged(tmp_path, "vit", 3, FORMS[0])
    made = tmp_path / "made"
    write_labels(made, LABELS)
    check_plugged_head(made, model_config(made), head, "tuned")
    write_labels(made, ("patient 7", *LABELS[1:]))
    with pytest.raises(InputError, match="has other classes than tuned"):
        check_plugged_head(made, model_config(made), head, "tuned")
    write_labels(made, LABELS)
    edit(tmp_path, flip("classifier.weight"))
    with pytest.raises(InputError, match=r"classifier\.weight is not that of tuned"):
        check_plugged_head(made, model_config(made), head, "tuned")


@with_and_without
def test_a_new_head_is_not_signed_if_the_adapter_brought_none(own: int, tmp_path: Path) -> None:
    _, record, _, _ = plugged(tmp_path, "vit", own, FORMS[0])
    with pytest.raises(InputError, match="says"):
        check(tmp_path, record, None)


def test_the_old_head_is_not_signed_if_the_adapter_brought_one(tmp_path: Path) -> None:
    model, record, head, _ = plugged(tmp_path, "vit", len(LABELS), FORMS[0])
    old = load_file(tmp_path / "model/model.safetensors")
    edit(tmp_path, lambda found: found.update({n: old[n] for n in old if "classifier" in n}))
    with pytest.raises(InputError, match=r"classifier\.bias is not that of tuned"):
        check(tmp_path, record, head)
    assert json.loads((tmp_path / "made/config.json").read_text())["id2label"]["1"] == "tumour"
    assert model.num_labels == len(LABELS)
