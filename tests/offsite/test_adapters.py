"""Adapters, in every form: what is tuned in the emulator is what the full model gets.

With random tensors in them, since an untouched adapter hides a missing transpose, a wrong scale and
a wrong block.
"""

import copy
import math
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import PreTrainedModel

from offsite.api import AlphaFactors
from offsite.bundle.changes import Place, check_change
from offsite.emulator.layer_drop import Layout
from offsite.errors import BundleError
from offsite.layers import blocks, family
from offsite.plugin import plug_in, trying
from offsite_testing.core import (
    DROPPED,
    WHOLE,
    changed,
    each_case,
    each_family,
    logits,
    record_of,
    same_bytes,
    snapshot,
    some_tokens,
)
from offsite_testing.forms import FORMS, TARGETED, Form, own_emulator, randomise
from offsite_testing.tiny import tiny_model

each_form = pytest.mark.parametrize("form", FORMS, ids="-".join)
UNEVEN = Layout(2, 1, (0, 1, 3, 5))


def changes_in(emulator: PreTrainedModel, plain: PreTrainedModel) -> dict[tuple[int, str], Tensor]:
    """Look up, place and name, how each weight of the blocks differs from what it was.

    Of LoRA it is peft that says so.
    """
    found: dict[tuple[int, str], Tensor] = {}
    for place, block in enumerate(blocks(emulator)):
        for name, module in block.named_modules():
            if hasattr(module, "get_delta_weight"):
                found[place, f"{name}.weight"] = module.get_delta_weight("default").detach()
        before = dict(blocks(plain)[place].named_parameters())
        for name, value in block.named_parameters():
            if name in before and not same_bytes(value, before[name]):
                found[place, name] = value.detach() - before[name]
    return found


@each_form
@each_case
def test_an_untouched_adapter_is_what_the_record_expects_and_changes_nothing(
    name: str, over: dict[str, Any], form: Form
) -> None:
    model = tiny_model(name, **over)
    emulator, record = own_emulator(model, DROPPED), record_of(model, DROPPED)
    before, whole = logits(emulator), snapshot(model)
    sent = form.attach(emulator, DROPPED).changes()
    shapes = {name: tuple(tensor.shape) for name, tensor in sent.items()}
    assert shapes == record.expected(form.method, form.scope, form.rank)
    assert {(tensor.dtype, tensor.is_contiguous()) for tensor in sent.values()} == {
        (torch.float32, True)
    }
    assert torch.equal(logits(emulator), before)
    plug_in(model, sent, form.facts, record)
    assert changed(whole, model) == set()


@each_form
@each_case
def test_an_adapter_in_all_blocks_does_in_the_model_what_it_does_in_the_emulator(
    name: str, over: dict[str, Any], form: Form
) -> None:
    model = tiny_model(name, **over)
    emulator, before = own_emulator(model, WHOLE), logits(model)
    attached = form.attach(emulator, WHOLE)
    randomise(attached)
    plug_in(model, attached.changes(), form.facts, record_of(model, WHOLE))
    expected, found = logits(emulator), logits(model)
    assert float((expected - before).norm()) > 0.02 * float(before.norm())
    assert float((found - expected).norm()) < 2e-5 * float(expected.norm())


@each_form
@each_case
def test_the_size_of_a_change_is_that_of_what_is_added(
    name: str, over: dict[str, Any], form: Form
) -> None:
    model, record = tiny_model(name, **over), record_of(tiny_model(name, **over), DROPPED)
    attached = form.attach(own_emulator(model, DROPPED), DROPPED)
    randomise(attached)
    before = [{n: w.detach().clone() for n, w in b.named_parameters()} for b in blocks(model)]
    told = plug_in(model, attached.changes(), form.facts, record, alpha=0.5)
    for (block, weight), found in told.items():
        assert block is not None
        old = before[block]
        own = old[weight].norm() ** 2
        if weight.endswith(".bias"):
            own += old[weight.replace(".bias", ".weight")].norm() ** 2
        change = dict(blocks(model)[block].named_parameters())[weight] - old[weight]
        assert found == pytest.approx(float(change.detach().norm() / own**0.5), rel=1e-3)


def test_a_change_of_a_bias_is_compared_with_its_module_and_of_zeros_with_nothing() -> None:
    model, form = tiny_model("gpt2"), FORMS[2]
    record, place = record_of(model, DROPPED), DROPPED.ends[0]
    first = dict(blocks(model)[0].named_parameters())
    zero = {name: torch.zeros_like(value) for name, value in first.items()}
    with torch.no_grad():
        for name in ("attn.c_attn.bias", "mlp.c_fc.weight", "mlp.c_fc.bias"):
            first[name].zero_()
    sent = {f"blocks.{place}.{name}.change": value for name, value in zero.items()}
    for name in ("attn.c_attn.bias", "mlp.c_fc.bias"):
        sent[f"blocks.{place}.{name}.change"] = torch.ones_like(first[name])
    # of both before: that the weight changes too makes the bias's change no smaller
    weight = first["attn.c_attn.weight"].detach().clone()
    sent[f"blocks.{place}.attn.c_attn.weight.change"] = 1e3 * weight
    told = plug_in(model, sent, form.facts, record)
    wanted = len(first["attn.c_attn.bias"]) ** 0.5 / float(weight.norm())
    assert told[Place(0, "attn.c_attn.bias")] == pytest.approx(wanted)
    assert told[Place(0, "mlp.c_fc.bias")] == math.inf
    assert told[Place(0, "mlp.c_fc.weight")] == 0


def one_weight(
    weight: Tensor, a: Tensor, b: Tensor, alpha: float = 1.0
) -> tuple[float, PreTrainedModel]:
    """Plug LoRA factors into one weight of a model alone; say how large that change is."""
    model, name = tiny_model("llama"), "self_attn.q_proj.weight"
    nn.Module.to(model, weight.dtype)
    dict(blocks(model)[0].named_parameters())[name].data = weight.clone()
    sent = {f"blocks.0.{name}.lora_A": a, f"blocks.0.{name}.lora_B": b}
    told = plug_in(model, sent, FORMS[0].facts, record_of(model, DROPPED), alpha=alpha)
    return told[Place(0, name)], model


def brute(weight: Tensor, model: PreTrainedModel) -> float:
    """Compute how large a change is from the weight before and after, exactly."""
    after = dict(blocks(model)[0].named_parameters())["self_attn.q_proj.weight"]
    old, new = (each.detach().double().numpy().astype(np.longdouble) for each in (weight, after))
    change, own = (float(np.sqrt((each**2).sum())) for each in (new - old, old))
    return change / own if own else math.inf if change else 0.0


def cancelling() -> tuple[Tensor, Tensor]:
    """Make factors whose product is huge in one column alone, and whose Gram matrices cancel."""
    a, b = torch.full((2, 64), 2.0**20), torch.empty(64, 2)
    a[:, 0] = torch.tensor([1.0, 1 + 2.0**-23])
    b[:, 0], b[:, 1] = 2.0**60, -(2.0**60)
    return a, b


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_factors_that_cancel_hide_no_change(dtype: torch.dtype) -> None:
    weight = torch.ones(64, 64, dtype=dtype)
    told, model = one_weight(weight, *cancelling())
    assert told == pytest.approx(brute(weight, model))
    assert told > 1e10


@pytest.mark.parametrize("piece", [1, 7, 64, 100, 1 << 22])
def test_a_change_is_measured_and_made_some_rows_at_a_time(
    piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offsite.plugin._PIECE", piece)
    draw = torch.Generator().manual_seed(0)
    weight, a, b = (torch.randn(s, generator=draw) for s in ((64, 64), (3, 64), (64, 3)))
    told, model = one_weight(weight, a, b)
    assert told == pytest.approx(brute(weight, model))
    after = dict(blocks(model)[0].named_parameters())["self_attn.q_proj.weight"]
    assert torch.allclose(after, weight + b @ a, rtol=1e-5, atol=1e-5)


def test_what_rounding_swallows_is_no_change() -> None:
    weight = torch.ones(64, 64, dtype=torch.bfloat16)
    told, _ = one_weight(weight, torch.full((1, 64), 1e-3), torch.ones(64, 1))
    assert told == 0


SCALES = st.integers(-60, 60).map(lambda power: 2.0**power)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**16),
    scales=st.tuples(SCALES, SCALES, st.just(0.0) | st.integers(-12, 12).map(lambda p: 2.0**p)),
    alpha=st.sampled_from([0.0, 0.3, 1.0, 2.0]),
    twins=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
)
def test_the_change_that_is_told_is_the_one_that_was_made(
    seed: int, scales: tuple[float, ...], alpha: float, twins: bool, dtype: torch.dtype
) -> None:
    """Of any factors, nearly equal rows with opposite signs among them."""
    draw = torch.Generator().manual_seed(seed)
    shapes = ((2, 64), (64, 2), (64, 64))
    a, b, weight = (
        torch.randn(shape, generator=draw) * scale
        for shape, scale in zip(shapes, scales, strict=True)
    )
    if twins:
        a[1], b[:, 1] = a[0] * (1 + 2.0**-22), -b[:, 0]
    weight = weight.to(dtype)
    found = None
    with suppress(BundleError):
        found = one_weight(weight, a, b, alpha)
    if found is None:  # refused: nothing less than a number that the dtype lacks is a reason
        most = alpha * (b.double().abs() @ a.double().abs()) + weight.double().abs()
        assert float(most.max()) > 0.9 * torch.finfo(dtype).max
        return
    told, model = found
    assert math.isfinite(told) or not weight.any()
    assert told == pytest.approx(brute(weight, model), rel=1e-9)


@pytest.mark.parametrize(("dtype", "scale"), [(torch.float16, 7e4), (torch.bfloat16, 3.5e38)])
def test_a_sum_that_its_dtype_cannot_hold_is_refused(dtype: torch.dtype, scale: float) -> None:
    weight, a, b = torch.ones(64, 64, dtype=dtype), torch.zeros(1, 64), torch.ones(64, 1)
    a[0, 5] = scale / 2
    with pytest.raises(BundleError, match=r"change of self_attn.q_proj.weight .* is not finite"):
        one_weight(weight, a, b, alpha=2.0)


def test_a_change_that_is_no_number_is_too_large() -> None:
    changes = {
        Place(0, "small"): 0.5,
        Place(1, "none"): math.nan,
        Place(2, "large"): 2.0,
    }
    with pytest.raises(BundleError, match="changes none of block 1 by nan times"):
        check_change(changes, 1e300, "tuned")
    check_change({Place(0, "small"): 0.5, Place(1, "most"): 1.0}, 1.0, "tuned")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@each_form
def test_an_adapter_is_float32_whatever_the_model_is(form: Form, dtype: torch.dtype) -> None:
    emulator = nn.Module.to(own_emulator(tiny_model("llama"), DROPPED), dtype)
    attached = form.attach(emulator, DROPPED)
    randomise(attached)
    with torch.autocast("cpu", torch.bfloat16):
        loss = (
            emulator(input_ids=some_tokens(), use_cache=False).logits.float().logsumexp(-1).mean()
        )
    loss.backward()
    assert {each.dtype for each in attached.trained.values()} == {torch.float32}
    assert {value.dtype for value in attached.changes().values()} == {torch.float32}
    assert all(each.grad is not None for each in attached.trained.values())


@pytest.mark.parametrize(("alpha", "layout"), [(1.0, DROPPED), (0.5, UNEVEN)], ids=["1", "0.5"])
@each_form
@each_family
def test_plug_in_adds_alpha_times_the_change_in_the_mapped_blocks_alone(
    name: str, form: Form, alpha: float, layout: Layout
) -> None:
    model = tiny_model(name)
    plain, emulator = (own_emulator(model, layout) for _ in range(2))
    before = snapshot(model)
    attached = form.attach(emulator, layout)
    randomise(attached)
    plug_in(model, attached.changes(), form.facts, record_of(model, layout), alpha=alpha)
    row, after = family(model), model.state_dict()
    changes = changes_in(emulator, plain)
    expected = {row.tensor_name(layout.kept[p], n): c for (p, n), c in changes.items()}
    assert changed(before, model) == expected.keys()
    for tensor, change in expected.items():
        assert torch.allclose(after[tensor], before[tensor] + alpha * change, rtol=1e-6, atol=1e-6)
        assert float(change.abs().max()) > 1e-3
    touched = {row.block_of(tensor) for tensor in expected}
    assert {split[0] for split in touched if split} == {
        layout.kept[place] for place in form.places(layout)
    }


@pytest.mark.parametrize("form", FORMS[::2], ids="-".join)
@pytest.mark.parametrize("name", ["llama", "gpt2", "opt", "dinov2"])
def test_each_part_of_a_model_has_its_scale(name: str, form: Form) -> None:
    model, plain = tiny_model(name), tiny_model(name)
    row, record = family(model), record_of(model, DROPPED)
    factors = AlphaFactors(attention=0.5, mlp=0.25, ends=0.5, middle=0.125)
    attached = form.attach(own_emulator(model, DROPPED), DROPPED)
    randomise(attached)
    sent, before = attached.changes(), snapshot(model)
    plug_in(plain, sent, form.facts, record)
    plug_in(model, sent, form.facts, record, alpha=2.0, factors=factors)
    after, whole = model.state_dict(), plain.state_dict()
    seen = set()
    for tensor in changed(before, plain):
        block, inside = row.block_of(tensor) or (-1, "")
        group = row.group_of(inside.rpartition(".")[0])
        scale = {"Attention": 1.0, "MLP": 0.5, None: 2.0}[group]
        scale *= 0.5 if block in (0, 5) else 0.125
        change = after[tensor] - before[tensor]
        assert torch.allclose(change, scale * (whole[tensor] - before[tensor]), atol=1e-6)
        seen.add((group, block in (0, 5)))
    middle = {("MLP", False), ("Attention", False)} if form.scope == "All" else {(None, True)}
    assert seen == {("MLP", True), ("Attention", True)} | middle


@each_form
def test_an_adapter_that_is_tried_leaves_the_model_as_it_was(form: Form) -> None:
    model = nn.Module.to(tiny_model("llama"), torch.bfloat16)
    attached = form.attach(own_emulator(tiny_model("llama"), DROPPED), DROPPED)
    randomise(attached)
    before, record = snapshot(model), record_of(model, DROPPED)
    with trying(model, attached.changes(), form.facts, record, alpha=0.5) as told:
        assert changed(before, model)
    assert changed(before, model) == set()
    assert told == plug_in(model, attached.changes(), form.facts, record, alpha=0.5)
    model.load_state_dict(before)
    huge = {name: value + math.inf for name, value in attached.changes().items()}
    with pytest.raises(BundleError, match="not finite"), trying(model, huge, form.facts, record):
        pass
    assert changed(before, model) == set()


@pytest.mark.parametrize("form", TARGETED, ids="-".join)
@each_family
def test_an_adapter_with_targets_changes_these_alone(name: str, form: Form) -> None:
    model = tiny_model(name)
    row, emulator = family(model), own_emulator(model, DROPPED)
    record = record_of(model, DROPPED).narrowed(form.method, form.scope, form.targets)
    attached, before = form.attach(emulator, DROPPED), snapshot(model)
    assert {name: value.shape for name, value in attached.changes().items()} == record.expected(
        form.method, form.scope, form.rank
    )
    randomise(attached)
    told = plug_in(model, attached.changes(), form.facts, record)
    assert told.keys() == record.reach().keys()
    touched = [row.block_of(tensor) for tensor in changed(before, model)]
    assert {split[1].removesuffix(".weight") for split in touched if split} == set(
        row.targeted(form.targets)
    )


@each_form
@each_family
def test_only_the_adapter_is_trainable(name: str, form: Form) -> None:
    emulator = own_emulator(tiny_model(name), DROPPED)
    original = list(emulator.parameters())
    attached = form.attach(emulator, DROPPED)
    trained = {id(parameter) for parameter in attached.trained.values()}
    assert trained == {id(each) for each in emulator.parameters() if each.requires_grad}
    if form.method == "LoRA":
        assert not trained & {id(parameter) for parameter in original}


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_lora_is_initialized_from_the_seed(name: str) -> None:
    model = tiny_model(name)
    sent = [
        Form("LoRA", "All").attach(own_emulator(model, DROPPED), DROPPED, seed=seed).changes()
        for seed in (0, 0, 1)
    ]
    for tensor, value in sent[0].items():
        assert same_bytes(value, sent[1][tensor])
        assert same_bytes(value, sent[2][tensor]) == tensor.endswith("lora_B")
    factors = [v * v.shape[1] ** 0.5 for n, v in sent[0].items() if n.endswith("lora_A")]
    assert float(torch.cat([each.flatten() for each in factors]).std()) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@each_form
def test_a_change_is_added_in_float32_and_rounded_once(form: Form, dtype: torch.dtype) -> None:
    model = tiny_model("llama")
    attached = form.attach(own_emulator(model, DROPPED), DROPPED)
    randomise(attached)
    nn.Module.to(model, dtype)
    exact, record = copy.deepcopy(model), record_of(model, DROPPED)
    nn.Module.to(exact, torch.float32)
    for each in (model, exact):
        plug_in(each, attached.changes(), form.facts, record, alpha=0.7)
    assert changed(snapshot(nn.Module.to(exact, dtype)), model) == set()
