"""What a block keeps for the backward pass, against what autograd keeps of a real one."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from offsite.adapter import METHODS
from offsite.families import family_of
from offsite.layers import final_hidden, freeze
from offsite.sizing.activations import kept
from offsite.sizing.setting import Machine, Training
from offsite.sizing.shape import Shape
from offsite_testing.tiny import FAMILIES_UNDER_TEST, LANGUAGE, some_inputs, tiny_model

_LENGTH, _RANK = 32, 4


_DIFFERENT = ("llama", "gpt2", "opt", "gpt_neox", "gemma2", "vit", "dinov2")
"""Families that keep different tensors; the others keep what one of them does."""


@pytest.mark.parametrize("model_type", _DIFFERENT)
@pytest.mark.parametrize("bfloat16", [True, False], ids=["bfloat16", "float32"])
def test_what_a_block_keeps_is_known_within_a_tenth(model_type: str, bfloat16: bool) -> None:
    machine = Machine(bfloat16=bfloat16)
    for method, trained in (("LoRA", True), ("Blocks", True), ("LoRA", False)):
        measured, length = _measured(model_type, method, trained, bfloat16)
        shape = Shape.of(tiny_model(model_type).config.to_dict())
        training = Training(
            batch=1, length=length, steps=1, places=1, whole=method == "Blocks", rank=_RANK
        )
        found = kept(shape, machine, training, trained=trained)
        assert found == pytest.approx(measured, rel=0.1), (method, trained)


def _measured(model_type: str, method: str, trained: bool, bfloat16: bool) -> tuple[float, int]:
    """Get the bytes of one more block for each position, and the positions of an example.

    By differences: between depths, which leaves out embeddings, and batches, which leaves out
    copies of weights.
    """
    sizes = {
        (depth, rows): _kept_of(model_type, method, (depth, rows), trained, bfloat16)
        for depth in (2, 3)
        for rows in (2, 4)
    }
    length = sizes[2, 2][1]
    more = [sizes[3, rows][0] - sizes[2, rows][0] for rows in (2, 4)]
    return (more[1] - more[0]) / (2 * length), length


def _kept_of(
    model_type: str, method: str, size: tuple[int, int], trained: bool, bfloat16: bool
) -> tuple[int, int]:
    depth, rows = size
    model = freeze(tiny_model(model_type, **_deep(model_type, depth)))
    places: Sequence[int] = range(depth) if trained else (0,)
    METHODS[method].attach(model, places, rank=_RANK, seed=0)
    own = {each.untyped_storage().data_ptr() for each in model.parameters()}
    held: dict[int, Tensor] = {}

    def note(tensor: Tensor) -> Tensor:
        if (place := tensor.untyped_storage().data_ptr()) not in own:
            held[place] = tensor
        return tensor

    inputs = some_inputs(model, rows)
    if model_type in LANGUAGE:
        inputs = {"input_ids": torch.randint(3, 90, (rows, _LENGTH))}
    multiplied = torch.autocast("cpu", torch.bfloat16, enabled=bfloat16)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda kept: kept), multiplied:
        hidden = final_hidden(model, inputs)
    return sum(each.untyped_storage().nbytes() for each in held.values()), hidden.shape[1]


def _deep(model_type: str, depth: int) -> dict[str, Any]:
    row = family_of({"model_type": model_type})
    if not row.config_under:
        return {row.depth: depth}
    return {
        row.config_under: {**FAMILIES_UNDER_TEST[model_type][row.config_under], row.depth: depth}
    }
