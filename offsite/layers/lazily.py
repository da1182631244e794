"""Models whose blocks lie on the disk, and are in memory only while they run.

Embeddings, norms and head are real. A block is on the meta device until it is called, or until
`resident` asks for it; afterwards its memory is free again. So the peak is that of what is outside
the blocks and of one block, whatever the depth.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationConfig, PreTrainedModel

from offsite.families import Family
from offsite.layers.building import assemble, built, check_found, freeze
from offsite.layers.hardware import device
from offsite.layers.loading import Loaded, checked_config, dtype_in_memory, opening, stored_dtype
from offsite.layers.residence import keep_on_disk
from offsite.layers.stack import blocks, family
from offsite.layers.tensors import Changed, Renamed, Stored, assign, attach, is_lazy, tensors_of
from offsite.modality import LOCAL, MODALITIES, Modality


def open_lazily(folder: Path, scratch: Path | None = None) -> Loaded:
    """Open a model whose blocks stay in its folder, frozen and in evaluation mode.

    It computes what a model that `load` gives computes, bit for bit. A value that is not finite
    raises ModelError when it is read. Change it by its `tensors` only.

    Args:
        scratch: the folder of a file for the tensors that change; None: they stay in memory.

    Raises:
        UnknownFamilyError, ModelError: as `load`.
    """
    with opening(folder) as view:
        made = unfilled(folder, view)
    kept = _kept_on_disk(made.model, made.tensors, scratch)
    return Loaded(kept, made.modality, made.dtype)


@dataclass(frozen=True)
class Unfilled:
    """A model whose blocks are on the meta device, and what fills them in."""

    model: PreTrainedModel
    modality: Modality
    dtype: torch.dtype
    """As of `Loaded`."""
    tensors: Mapping[str, Tensor]
    """Every tensor by its name in the model's `state_dict`, as it is stored."""


def unfilled(folder: Path, view: Path, *, mapped: bool = False) -> Unfilled:
    """Build a model of a folder that `opening` shows, frozen, without the tensors of its blocks.

    Args:
        mapped: as of `Stored`.
    """
    config, row = checked_config(folder, view)
    sizes = config.to_dict()
    stored = stored_dtype(folder, row, sizes)
    wanted = dtype_in_memory(stored)
    tensors = Stored.of(folder, row, sizes, mapped)
    absent = _placeholders(row, sizes, wanted)
    # by the names in the files, which transformers notes where it changed them
    state = {
        spelt: absent[name] if name in absent else tensors[name].to(wanted)
        for name, spelt in tensors.spelt.items()
    }
    model, found = built(row, config, None, state_dict=state, dtype=wanted)
    check_found(f"the model {folder}", model, found)
    if model.can_generate() and (view / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(view, **LOCAL)
    modality = MODALITIES[row.modality].open(view, folder, row, model)
    names = {row.stored_name(path): path for path in model.state_dict()}
    own = Renamed(tensors, {names[name]: name for name in tensors})
    return Unfilled(_emptied(freeze(model)), modality, stored, own)


def rearranged(
    model: PreTrainedModel, config: Mapping[str, Any], names: Mapping[str, str]
) -> PreTrainedModel:
    """Build a model of some of a model's tensors, which both share; lazily if that is lazy.

    Args:
        config: the content of a `config.json`.
        names: every tensor of the new model by its checkpoint name, with its name in `model`.

    Raises:
        ModelError: as `assemble`.
    """
    own = model.state_dict()
    if not is_lazy(model):
        return assemble(config, {name: own[here] for name, here in names.items()})
    row, tensors = family(model), tensors_of(model)
    outside = {name: own[here] for name, here in names.items() if row.block_of(name) is None}
    absent = _placeholders(row, config, model.dtype)
    made = _emptied(assemble(config, {**outside, **absent}))
    there = {here if name in outside else name: here for name, here in names.items()}
    kept = {name: here for name, here in there.items() if here in tensors}
    return _kept_on_disk(made, Renamed(tensors, kept), tensors.scratch)


def _placeholders(row: Family, config: Mapping[str, Any], dtype: torch.dtype) -> dict[str, Tensor]:
    """Make tensors for all blocks that take no memory; transformers cannot build on meta ones."""
    one, count = torch.zeros((), dtype=dtype), row.count(config)
    return {
        row.tensor_name(index, name): one.expand(shape)
        for name, shape in row.block_tensors(config).items()
        for index in range(count)
    }


def _emptied(model: PreTrainedModel) -> PreTrainedModel:
    """Put the blocks of a model on the meta device, in place, and the rest where it is computed."""
    for block in blocks(model):
        for module in block.modules():
            for name, parameter in module.named_parameters(recurse=False):
                absent = torch.empty_like(parameter, device="meta")
                setattr(module, name, nn.Parameter(absent, requires_grad=False))
    return _moved(model)


def _kept_on_disk(
    model: PreTrainedModel, tensors: Mapping[str, Tensor], scratch: Path | None
) -> PreTrainedModel:
    """Take the blocks of a model out of memory, in place, and read them when they run."""
    row = family(model)

    own = Changed(tensors, scratch, partial(_note, model))
    for index, block in enumerate(blocks(model)):
        names = {path: row.tensor_name(index, path) for path, _ in block.named_parameters()}
        keep_on_disk(block, names, own)
    attach(model, own)
    return model


def _note(model: PreTrainedModel, name: str) -> None:
    """Take a tensor that was set or restored, if it is always in memory."""
    if family(model).block_of(name) is None:
        assign(model, name, tensors_of(model)[name])


def _moved(model: PreTrainedModel) -> PreTrainedModel:
    """Move what is in memory to the device, in place; buffers get the rounding of `load`."""
    dtype = model.dtype

    def there(tensor: Tensor) -> Tensor:
        if tensor.is_meta:
            return tensor
        return tensor.to(device(), dtype if tensor.is_floating_point() else tensor.dtype)

    nn.Module._apply(model, there)
    return model
