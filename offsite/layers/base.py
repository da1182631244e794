"""The base of an adapter: a model of which most is frozen, held as small as is not slower.

The linear layers of the blocks, the head and the token table are nearly all of a model's memory.
Frozen ones are held in the dtype that they are multiplied in, if that is smaller than what they are
stored in, so nothing is rounded that would not be rounded anyway, and nothing is converted in each
step. Else they are held as they are stored: not copied, but mapped from the disk. Everything else
is float32 on a CPU.
"""

import copy
from collections.abc import Collection
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from offsite.layers.hardware import device, multiplies_bfloat16
from offsite.layers.lazily import Unfilled, unfilled
from offsite.layers.loading import Loaded, opening
from offsite.layers.quantizing import Compact, Quantization
from offsite.layers.stack import blocks, family


def load_base(
    folder: Path, quantize: Quantization | None = None, trained: Collection[int] = ()
) -> Loaded:
    """Load a model to train an adapter in, frozen and in evaluation mode.

    Without quantization, it computes what a model that `load` gives computes, bit for bit.

    Args:
        quantize: how the frozen linear layers of its blocks are held.
        trained: the places of the blocks that will be trained whole. They are as `load` has them.

    Raises:
        UnknownFamilyError, ModelError: as `load`.
    """
    with opening(folder) as view:
        made = unfilled(folder, view, mapped=True)
        for place in range(len(blocks(made.model))):
            _fill(made, place, quantize, frozen=place not in trained)
        _narrow_vocabulary(made)
    return Loaded(made.model, made.modality, made.dtype)


def _multiplied_in(made: Unfilled) -> torch.dtype:
    return torch.bfloat16 if multiplies_bfloat16(device().type) else made.model.dtype


def _fill(made: Unfilled, place: int, quantize: Quantization | None, *, frozen: bool) -> None:
    """Give a block its tensors."""
    block, row, wide = blocks(made.model)[place], family(made.model), made.model.dtype
    for path, module in list(block.named_modules()):
        names = [name for name, _ in module.named_parameters(recurse=False)]
        dots = f"{path}." if path else ""
        read = {name: made.tensors[row.tensor_name(place, f"{dots}{name}")] for name in names}
        if frozen and isinstance(module, nn.Linear | Conv1D):
            block.set_submodule(path, _held(module, read, _multiplied_in(made), quantize))
        else:
            _filled(module, {name: each.to(device(), wide) for name, each in read.items()})


def _held(
    module: nn.Module, read: dict[str, Tensor], dtype: torch.dtype, quantize: Quantization | None
) -> nn.Module:
    """Give a frozen linear layer its tensors, as they are stored; returns what takes its place."""
    small = {name: each.to(device(), dtype) for name, each in read.items() if name == "bias"}
    weight = read["weight"].to(device())
    narrow = weight.dtype.itemsize < dtype.itemsize
    if quantize is None and not narrow:
        return _filled(module, {"weight": weight.to(dtype), **small})
    turned = isinstance(module, Conv1D)
    held = weight if quantize is None else weight.to(dtype)
    straight = held.T.contiguous() if turned and quantize else held.T if turned else held
    return Compact(straight, small.get("bias"), quantize, transposed=turned)


def _filled(module: nn.Module, tensors: dict[str, Tensor]) -> nn.Module:
    for name, tensor in tensors.items():
        setattr(module, name, nn.Parameter(tensor, requires_grad=False))
    return module


def _narrow_vocabulary(made: Unfilled) -> None:
    """Hold the head in the dtype that it is multiplied in, and the token table if it is stored so.

    What is looked up in the table stays as wide as it was.
    """
    model, dtype = made.model, _multiplied_in(made)
    if family(model).heads or dtype == model.dtype:
        return
    head, table = model.get_output_embeddings(), model.get_input_embeddings()
    if head is None:
        return
    wide, narrowed = model.dtype, {head.weight} - {table.weight}
    if made.dtype == dtype:
        narrowed = {head.weight, table.weight}
        table.forward = partial(_looked_up, table, wide)
    names = {parameter: name for name, parameter in model.named_parameters()}
    for parameter in narrowed:
        parameter.data = made.tensors[names[parameter]].to(device(), dtype)


def _looked_up(table: nn.Module, wide: torch.dtype, tokens: Tensor) -> Tensor:
    """Look tokens up as a table of a wider dtype does, which may scale what it finds."""
    rows = table.get_parameter("weight")[tokens.flatten()].to(wide)
    small = copy.copy(table)
    own: dict[str, nn.Parameter | None] = {"weight": nn.Parameter(rows, requires_grad=False)}
    small._parameters = own  # noqa: V101 - read by torch
    small.padding_idx = None  # type: ignore[assignment] # noqa: V101
    places = torch.arange(len(rows), device=rows.device).view(tokens.shape)
    found: Tensor = type(table).forward(small, places)
    return found
