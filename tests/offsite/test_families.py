"""The rows of the family table against the models that they describe.

A new family needs a line in `offsite_testing.tiny.FAMILIES_UNDER_TEST` and nothing here.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from offsite.errors import UnknownFamilyError
from offsite.families import (
    FAMILIES,
    Checkpoint,
    Family,
    config_problems,
    family_of,
    generation_problems,
    without_unread,
)
from offsite_testing.core import logits
from offsite_testing.tiny import (
    DEPTH,
    FAMILIES_UNDER_TEST,
    VARIANTS,
    model_from,
    sent_config,
    tiny_config,
    tiny_model,
)

KEEP = (0, 2, 3, 5)
CASES = [pytest.param(name, {}, id=name) for name in FAMILIES_UNDER_TEST] + [
    pytest.param(name, over, id=f"{name}-{'-'.join(over)}") for name, over in VARIANTS
]
case = pytest.mark.parametrize(("name", "over"), CASES)
each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.model_type)


class Call(NamedTuple):
    """What a block was given."""

    hidden: Tensor
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def row(name: str) -> Family:
    return family_of({"model_type": name})


def blocks(model: PreTrainedModel) -> nn.ModuleList:
    found = model.get_submodule(family_of(model.config.to_dict()).blocks)
    assert isinstance(found, nn.ModuleList)
    return found


def linears(block: nn.Module) -> dict[str, nn.Module]:
    modules = block.named_modules()
    return {name: module for name, module in modules if isinstance(module, nn.Linear | Conv1D)}


def calls(model: PreTrainedModel) -> list[Call]:
    """Record what each block is given for some text or images."""
    seen: list[Call] = []
    for block in blocks(model):
        block.register_forward_pre_hook(
            lambda _, args, kwargs: seen.append(Call(args[0], args[1:], kwargs)), with_kwargs=True
        )
    logits(model)
    return seen


def output(block: nn.Module, call: Call, hidden: Tensor) -> Tensor:
    with torch.no_grad():
        out = block(hidden, *call.args, **call.kwargs)
    return out if isinstance(out, Tensor) else out[0]


def stored(folder: Path) -> dict[str, tuple[int, ...]]:
    """Read the shapes of a saved model's tensors; transformers saves some under older names."""
    config = read(folder / "config.json")
    checkpoint = Checkpoint.of(family_of(config), config)
    found: dict[str, tuple[int, ...]] = {}
    with safe_open(folder / "model.safetensors", "pt") as file:
        for name in file.keys():  # noqa: SIM118
            found[checkpoint.name(name) or name] = tuple(file.get_slice(name).get_shape())
    return found


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def saved(name: str, folder: Path, **over: Any) -> dict[str, Any]:
    """Save a tiny model and read its config.json."""
    tiny_model(name, **over).save_pretrained(folder)
    return read(folder / "config.json")


def test_every_family_is_under_test() -> None:
    assert {family.model_type for family in FAMILIES} == set(FAMILIES_UNDER_TEST)


def test_an_unknown_family_is_an_error_that_says_how_to_add_one() -> None:
    with pytest.raises(UnknownFamilyError, match="does not support the architecture"):
        family_of({"model_type": "rwkv"})


@case
def test_checkpoint_holds_the_tensors_of_the_row(
    name: str, over: dict[str, Any], tmp_path: Path
) -> None:
    config = saved(name, tmp_path, **over)
    assert row(name).tensors(config) == stored(tmp_path)
    assert row(name).tensors(tiny_config(name, **over).to_dict()) == stored(tmp_path)


@case
def test_saved_files_pass_the_allow_lists(name: str, over: dict[str, Any], tmp_path: Path) -> None:
    config = without_unread(saved(name, tmp_path, **over))
    assert config_problems(config) == []
    if row(name).modality == "text":
        assert generation_problems(read(tmp_path / "generation_config.json")) == []
    small = row(name).resized(config, KEEP)
    assert config_problems(small) == []


@case
def test_block_is_where_and_what_the_row_says(name: str, over: dict[str, Any]) -> None:
    family, model = row(name), tiny_model(name, **over)
    assert type(model).__name__ == family.architecture
    assert len(blocks(model)) == family.count(model.config.to_dict()) == DEPTH
    inside = linears(blocks(model)[0])
    assert sorted(family.targets) == sorted(inside)
    for target, (in_, out) in family.linear_sizes(model.config.to_dict()).items():
        shape = tuple(inside[target.removesuffix(".weight")].get_parameter("weight").shape)
        assert shape == ((in_, out) if family.transposed else (out, in_))


@case
def test_each_linear_module_is_of_the_attention_or_of_the_mlp(
    name: str, over: dict[str, Any]
) -> None:
    family, block = row(name), blocks(tiny_model(name, **over))[0]
    for target in family.targets:
        owner = type(block.get_submodule(target.rpartition(".")[0])).__name__
        assert family.group_of(target) == ("Attention" if "Attention" in owner else "MLP")
        assert target in family.targeted(family.group_of(target) or "All")
    halves = [*family.targeted("MLP"), *family.targeted("Attention")]
    assert sorted(halves) == sorted(family.targeted("All")) == sorted(family.targets)
    assert family.group_of("norm1") is None


@case
def test_healing_folds_into_what_is_added_to_the_residual(name: str, over: dict[str, Any]) -> None:
    family, model = row(name), tiny_model(name, **over)
    call, block = calls(model)[2], blocks(model)[2]
    heal = family.healed_by(model.config.to_dict())
    projection = block.get_submodule(heal or family.targets[-1])
    scale = block.get_parameter(family.heal_scale) if family.heal_scale else torch.tensor(1.0)
    seen: list[Tensor] = []
    projection.register_forward_hook(lambda _module, _args, out: seen.append(out * scale))
    whole = output(block, call, call.hidden)
    with torch.no_grad():
        for parameter in projection.parameters():
            parameter.zero_()
    added = whole - output(block, call, call.hidden)
    found = seen[0].detach().view_as(added)
    assert torch.allclose(added, found, atol=1e-5) == (heal is not None)


@case
def test_a_kept_block_behaves_as_before(name: str, over: dict[str, Any]) -> None:
    family, model = row(name), tiny_model(name, **over)
    kept = without_unread(family.resized(model.config.to_dict(), KEEP))
    small = model_from(AutoConfig.for_model(**kept), seed=1)
    outside = {name: t for name, t in model.state_dict().items() if not family.block_of(name)}
    small.load_state_dict(outside, strict=False)
    assert len(blocks(small)) == len(KEEP)
    before, after = calls(model), calls(small)
    for place, index in enumerate(KEEP):
        own, original = blocks(small)[place], blocks(model)[index]
        own.load_state_dict(original.state_dict())
        hidden = before[index].hidden
        expected = output(original, before[index], hidden)
        assert torch.equal(output(own, after[place], hidden), expected), (place, index)


@pytest.mark.parametrize("name", [f.model_type for f in FAMILIES if f.per_block])
@pytest.mark.parametrize("window", [True, False])
def test_a_list_that_old_checkpoints_lack_is_assumed_as_transformers_does(
    name: str, window: bool
) -> None:
    config = {**FAMILIES_UNDER_TEST[name], "model_type": name, "sliding_window": 5}
    config |= {"use_sliding_window": window, "max_window_layers": 2, "sliding_window_pattern": 3}
    types = AutoConfig.for_model(**config).layer_types
    small = row(name).resized(config, KEEP)
    assert small["layer_types"] == [types[index] for index in KEEP]
    assert small["max_window_layers"] == (1 if row(name).boundaries else 2)


@each_family
def test_defaults_and_aliases_are_those_of_transformers(family: Family) -> None:
    config = type(tiny_config(family.model_type))
    fields = config.default_config_fields()
    known = {key: value for key, value in family.defaults.items() if key in fields}
    assert known == {key: fields[key] for key in known}
    assert config.attribute_map.items() <= family.aliases.items()


@each_family
def test_names_split_into_block_and_rest(family: Family) -> None:
    for tensor in family.tensors(sent_config(family)):
        split = family.block_of(tensor)
        if split:
            assert family.tensor_name(*split) == tensor
            assert split[1] in family.block_tensors(sent_config(family))
        else:
            assert tensor in family.outer_tensors(sent_config(family))


@pytest.mark.parametrize("index", ["01", "-1", "+1", " 1", "1_0", "٣", "", "9" * 5000])
def test_a_block_has_one_spelling_only(index: str) -> None:
    assert row("llama").block_of(f"model.layers.{index}.mlp.up_proj.weight") is None
    assert row("llama").block_of("model.layers.1") is None
    assert row("llama").block_of("model.norm.1.weight") is None


@pytest.mark.parametrize("value", [True, 0, -4, 2**24 + 1, 8.0, "8", None, [8], 10**400])
@each_family
def test_absurd_sizes_are_refused(family: Family, value: object) -> None:
    size = "vocab_size" if family.modality == "text" else "hidden_size"
    with pytest.raises(ValueError, match=size):
        family.tensors(sent_config(family, **{size: value}))
    with pytest.raises(ValueError, match=family.depth):
        family.tensors(sent_config(family, **{family.depth: value}))
    assert config_problems(sent_config(family, **{family.depth: value}))


@each_family
def test_a_missing_size_is_named(family: Family) -> None:
    config = sent_config(family)
    del (config[family.config_under] if family.config_under else config)[family.depth]
    assumed = family.depth in family.defaults
    assert config_problems(config) == ([] if assumed else [f"{family.depth}: is missing"])


@pytest.mark.parametrize("keep", [(), (0, 0), (2, 1), (0, 6), (-1, 0)])
def test_blocks_to_keep_must_ascend_within_the_model(keep: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must be ascending"):
        row("llama").resized(sent_config(row("llama")), keep)


def test_other_names_of_a_key_are_understood() -> None:
    gpt2 = row("gpt2")
    config = sent_config(gpt2)
    other = {**config, "num_hidden_layers": config["n_layer"], "hidden_size": config["n_embd"]}
    del other["n_layer"], other["n_embd"]
    assert gpt2.tensors(other) == gpt2.tensors(config)
    assert gpt2.resized(other, KEEP) == gpt2.resized(config, KEEP)
    assert config_problems(other) == []
    assert config_problems({**other, "n_layer": 6}) == [
        "num_hidden_layers: means the same as n_layer, which is also set; remove one"
    ]
