"""Writes a model's weights tensor by tensor: the files that transformers would write at once."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from torch import Tensor
from transformers import PreTrainedModel
from transformers.core_model_loading import revert_weight_conversion

from offsite.bundle.files import Kind
from offsite.bundle.manifest import FileEntry
from offsite.bundle.original import INDEX
from offsite.bundle.tensorfile import Piece, write_bytes, write_tensors

SHARD = "2GB"
"""How large a file of weights may be."""
KINDS = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
"""The dtypes of weights, by their names in a safetensors file."""


def write_weights(
    model: PreTrainedModel,
    tensors: Mapping[str, Tensor],
    folder: Path,
    dtype: torch.dtype,
    shard: str = SHARD,
) -> dict[str, FileEntry]:
    """Write the weights of a model, with one tensor in memory at a time.

    Names, shards, index and bytes are those of `PreTrainedModel.save_pretrained`.

    Args:
        model: Names the tensors and has their shapes; its own may be on the meta device.
        tensors: The values, by the names of the model's `state_dict`. Each is read once; of tied
            ones, the first.
        dtype: What the values are rounded to.

    Returns:
        Size and SHA-256 of each file, computed while it was written.
    """
    names, own = stored_names(model), model.state_dict()
    layout = {
        stored: torch.empty(own[name].shape, dtype=dtype, device="meta")
        for stored, name in names.items()
    }
    plan = split_torch_state_dict_into_shards(layout, max_shard_size=shard)

    def read(stored: str) -> Iterator[Piece]:
        value = tensors[names[stored]].detach().to("cpu", dtype)
        yield piece_of(value)

    found = dict[str, FileEntry]()
    for file, within in plan.filename_to_tensors.items():
        kinds = {each: (tuple(layout[each].shape), KINDS[dtype]) for each in within}
        found[file] = write_tensors(folder / file, kinds, read)
    if plan.is_sharded:
        total = {"total_parameters": model.num_parameters(), **plan.metadata}
        index = {"metadata": total, "weight_map": plan.tensor_to_filename}
        content = json.dumps(index, indent=2, sort_keys=True) + "\n"
        found[INDEX] = write_bytes(folder / INDEX, content.encode())
    return found


def kind_of(tensor: Tensor) -> Kind:
    """Return the shape and dtype of a tensor, as a file says them."""
    return tuple(tensor.shape), KINDS[tensor.dtype]


def piece_of(tensor: Tensor) -> memoryview:
    """View a tensor on the CPU as bytes, by rows."""
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def stored_names(model: PreTrainedModel) -> dict[str, str]:
    """Return the names of a model's tensors in its `state_dict`, by their names in its files.

    The order is that of the files. A tensor that repeats another one has no name. Some families
    have other names in files; transformers notes which of them a checkpoint has when it loads it.
    """
    first = dict[int, str]()
    for name, tensor in model.state_dict(keep_vars=True).items():
        first.setdefault(id(tensor), name)
    stand_ins = {name: torch.empty(0, device="meta") for name in first.values()}
    named = {id(tensor): name for name, tensor in stand_ins.items()}
    stored = revert_weight_conversion(model, dict(stand_ins))
    return {spelt: named[id(tensor)] for spelt, tensor in stored.items()}
