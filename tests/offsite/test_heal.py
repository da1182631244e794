"""Healing brings the emulator closer to the model, and touches what it is said to and no more."""

import gc
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, overload

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from offsite.emulator import heal
from offsite.emulator.equations import NormalEquations
from offsite.emulator.layer_drop import Layout, drop_layers
from offsite.layers import blocks, family, final_hidden, inference, watching
from offsite.modality import Batch
from offsite_testing.core import (
    DROPPED,
    WHOLE,
    batch_for,
    batch_of,
    cases_where,
    changed,
    dropped,
    input_ids,
    logits,
    silent,
    snapshot,
    some_batch,
)
from offsite_testing.tiny import some_inputs, tiny_model


def projection(model: PreTrainedModel) -> str | None:
    return family(model).healed_by(model.config.to_dict())


each_healable = cases_where(lambda model: projection(model) is not None)


def calibration(model: PreTrainedModel) -> list[Batch]:
    """Make more rows than any projection of a tiny model has inputs."""
    return [batch_for(model, rows=8, length=24, seed=seed) for seed in range(2)]


def healed(model: PreTrainedModel, layout: Layout) -> PreTrainedModel:
    emulator = dropped(model, layout)
    heal(model, emulator, calibration(model), silent())
    return emulator.model


def outputs(model: PreTrainedModel) -> list[Tensor]:
    """What each block puts out on the calibration data, at the precision that healing has."""
    with ExitStack() as stack:
        stack.enter_context(inference())
        seen = [stack.enter_context(watching(block)) for block in blocks(model)]
        for batch in calibration(model):
            final_hidden(model, batch.inputs)
    return [torch.cat(each).float() for each in seen]


def errors(model: PreTrainedModel, emulator: PreTrainedModel, layout: Layout) -> list[float]:
    """Compare with the model just before each next kept block, each token by its own size."""
    wanted, found = outputs(model), outputs(emulator)
    places = range(len(layout.kept))[layout.middle]
    pairs = [(wanted[layout.kept[place + 1] - 1], found[place]) for place in places]
    return [float(((b - a).pow(2).mean(-1) / a.pow(2).mean(-1)).mean()) for a, b in pairs]


@each_healable
def test_healing_comes_closer_to_what_the_next_block_read(name: str, over: dict[str, Any]) -> None:
    model = tiny_model(name, **over)
    before = errors(model, drop_layers(model, DROPPED), DROPPED)
    after = errors(model, healed(model, DROPPED), DROPPED)
    assert len(before) == 2
    assert all(new < 0.95 * old for new, old in zip(after, before, strict=True))


def test_a_single_kept_block_is_healed_too() -> None:
    model, layout = tiny_model("llama"), Layout(1, 1, (0, 1, 5))
    (before,), (after,) = (
        errors(model, each, layout) for each in (drop_layers(model, layout), healed(model, layout))
    )
    assert after < 0.95 * before


@each_healable
def test_healing_touches_the_middle_projections_and_nothing_else(
    name: str, over: dict[str, Any]
) -> None:
    model = tiny_model(name, **over)
    whole, emulator = snapshot(model), dropped(model, DROPPED)
    before = snapshot(emulator.model)
    heal(model, emulator, calibration(model), silent())
    row, path = family(model), projection(model)
    assert changed(before, emulator.model) == {row.tensor_name(i, f"{path}.weight") for i in (1, 2)}
    assert changed(whole, model) == set()


@each_healable
def test_healing_an_emulator_of_all_blocks_changes_next_to_nothing(
    name: str, over: dict[str, Any]
) -> None:
    model = tiny_model(name, **over)
    inputs = some_inputs(model, seed=9)
    expected, found = logits(model, inputs), logits(healed(model, WHOLE), inputs)
    # bfloat16 is not exact, where the machine multiplies in it
    assert float((found - expected).norm()) < 0.02 * float(expected.norm())


def test_the_same_text_gives_the_same_bytes() -> None:
    model = tiny_model("llama")
    assert changed(snapshot(healed(model, DROPPED)), healed(model, DROPPED)) == set()


def test_each_token_counts_by_its_own_size() -> None:
    projection = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(projection.weight)
    equations = NormalEquations(projection, transposed=False)
    # nine tokens of size 1 want 1, one massive token wants -100 of the same input
    wanted = torch.tensor([1.0] * 9 + [-100.0]).reshape(1, 10, 1)
    seen = torch.ones(1, 10, 1)
    equations.add((seen, seen * 0), wanted, seen * 0, torch.ones(1, 10, dtype=torch.bool))
    projection.weight.data = equations.solution().weight
    assert 0.5 < float(projection.weight.detach()) < 1.0


def test_a_feature_that_the_block_does_not_let_through_stays() -> None:
    projection = torch.nn.Linear(1, 3, bias=False)
    torch.nn.init.ones_(projection.weight)
    equations = NormalEquations(projection, False, torch.tensor([2.0, -0.5, 1e-9]))
    seen, output = torch.ones(1, 9, 1), torch.zeros(1, 9, 3)
    equations.add((seen, seen.expand(1, 9, 3)), output + 1, output, output[..., 0] == 0)
    projection.weight.data = equations.solution().weight
    grown, shrunk, kept = projection.weight.detach()[:, 0].tolist()
    assert grown > 1.2
    assert shrunk < -0.2
    assert kept == pytest.approx(1)


def test_padding_counts_for_nothing() -> None:
    model, emulators = tiny_model("llama"), []
    whole = some_batch(rows=8, length=24)
    longer = torch.nn.functional.pad(input_ids(whole), (0, 6), value=7)
    padded = batch_of(longer, longer, torch.arange(30).expand(8, 30) < 24)
    for batch in (whole, padded):
        emulators.append(dropped(model, DROPPED))
        heal(model, emulators[-1], [batch], silent())
    one, other = (snapshot(each.model) for each in emulators)
    assert all(torch.allclose(one[name], other[name], atol=2e-3) for name in one)
    nothing = dropped(model, DROPPED)
    heal(model, nothing, [batch_of(longer, longer, longer >= 0)], silent())
    assert any(not torch.allclose(one[n], t, atol=2e-2) for n, t in snapshot(nothing.model).items())


class Text(Sequence[Batch]):
    """Batches that exist only while they are used; measures what is in memory at the last one."""

    def __init__(self, count: int) -> None:
        self.length, self.bytes = count, 0

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, index: int) -> Batch: ...
    @overload
    def __getitem__(self, index: slice) -> list[Batch]: ...
    def __getitem__(self, index: int | slice) -> Batch | list[Batch]:
        if isinstance(index, slice):
            return [self[i] for i in range(self.length)[index]]
        if index not in range(self.length):
            raise IndexError(index)
        if index == self.length - 1:
            self.bytes = max(self.bytes, tensor_bytes())
        return some_batch(rows=4, length=32, seed=index)


def tensor_bytes() -> int:
    """Sum up the memory behind every tensor that is alive."""
    alive = [each for each in gc.get_objects() if issubclass(type(each), Tensor)]
    storages = [tensor.untyped_storage() for tensor in alive]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def test_memory_does_not_grow_with_the_text() -> None:
    model, peaks = tiny_model("llama"), []
    for count in (2, 12):
        text = Text(count)
        heal(model, dropped(model, DROPPED), text, silent())
        peaks.append(text.bytes)
    hidden_state = 4 * 32 * 32 * 4
    assert peaks[0] > sum(parameter.nbytes for parameter in model.parameters())
    assert peaks[1] - peaks[0] < 2 * hidden_state
