"""Models from and to the disk."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel

from offsite.bundle import check_original, check_tensors
from offsite.bundle.manifest import FileEntry
from offsite.errors import ModelError, OffsiteError
from offsite.families import Family, family_of
from offsite.layers.building import built, check_found, freeze, quiet
from offsite.layers.hardware import device
from offsite.layers.tensors import Changed, InMemory, tensors_of
from offsite.layers.writing import KINDS, write_weights
from offsite.modality import LOCAL, MODALITIES, Modality, is_panic

_DTYPES = {name: dtype for dtype, name in KINDS.items()}


@dataclass(frozen=True)
class Loaded:
    """A model, with the modality of its inputs."""

    model: PreTrainedModel
    modality: Modality
    dtype: torch.dtype
    """What its tensors are on disk; in memory they are float32 where there is no GPU."""

    @property
    def size(self) -> int:
        """How many bytes its weights take on disk."""
        return sum(each.numel() for each in self.model.parameters()) * self.dtype.itemsize

    @property
    def tensors(self) -> InMemory | Changed:
        """Its tensors by name; see `tensors_of`."""
        return tensors_of(self.model)


def load(folder: Path) -> Loaded:
    """Load a model from a folder, frozen and in evaluation mode.

    Reads `safetensors` only, and runs no code that lies in the folder.

    Raises:
        UnknownFamilyError: the architecture has no row in the family table.
        ModelError: there is no such model, or its files are damaged, or its companion files
            are those of another model.
    """
    with opening(folder) as view:
        return _open(folder, view)


@contextmanager
def opening(folder: Path) -> Iterator[Path]:
    """Show the files of a model that decide what it computes, while the `with` block reads them.

    Raises:
        ModelError: there is no such model, or the `with` block fails to read it.
    """
    names = check_original(folder)
    try:
        with quiet(), _alone(folder, names) as view:
            yield view
    except OffsiteError:
        raise
    # of a damaged file, transformers and the libraries below it raise anything at all
    except BaseException as error:
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        reason = " ".join(str(error).split())
        raise ModelError(f"cannot load the model {folder}: {reason}") from error


@contextmanager
def _alone(folder: Path, names: Iterable[str]) -> Iterator[Path]:
    """Show the files of a model that decide what it computes, and no others.

    transformers looks for more in a folder than its callers name.
    """
    with TemporaryDirectory(prefix="offsite-model-") as scratch:
        view = Path(scratch)
        for name in names:
            (view / name).symlink_to((folder / name).resolve())
        yield view


def _open(folder: Path, view: Path) -> Loaded:
    config, row = checked_config(folder, view)
    stored = stored_dtype(folder, row, config.to_dict())
    wanted = dtype_in_memory(stored)
    model, found = built(row, config, view, dtype=wanted, use_safetensors=True, **LOCAL)
    check_found(f"the model {folder}", model, found)
    for name, tensor in model.state_dict().items():
        if not tensor.isfinite().all():
            raise ModelError(f"the model {folder} holds a value in {name} that is not finite")
    modality = MODALITIES[row.modality].open(view, folder, row, model)
    return Loaded(freeze(_moved(model, wanted)), modality, stored)


def checked_config(folder: Path, view: Path) -> tuple[PreTrainedConfig, Family]:
    """Read the config of a model that can be used, and find its family.

    Raises:
        UnknownFamilyError: the architecture has no row in the family table.
        ModelError: models with this config are not supported.
    """
    # before transformers, whose error for an unknown family names no remedy, and which allocates
    # as many blocks as a damaged config asks for
    raw = json.loads((folder / "config.json").read_bytes())
    row = family_of(raw)
    row.count(raw)
    config = AutoConfig.from_pretrained(view, **LOCAL)
    for key, value in row.overridden(raw).items():
        setattr(config, key, value)
    if refusals := row.refusals(config.to_dict()):
        raise ModelError(f"the model {folder} cannot be used: {'; '.join(refusals)}")
    row.sizes(config.to_dict())
    return config, row


def stored_dtype(folder: Path, row: Family, config: Mapping[str, Any]) -> torch.dtype:
    """Check the tensors of a model's files, and read in which dtype they are stored."""
    kinds = check_tensors(folder, row, config)
    if len(kinds) > 1 or not kinds <= _DTYPES.keys():
        raise ModelError(
            f"{folder} holds numbers of the kinds {', '.join(sorted(kinds))}; convert all of them "
            f"to one of {', '.join(_DTYPES)}"
        )
    (kind,) = kinds
    return _DTYPES[kind]


def dtype_in_memory(stored: torch.dtype) -> torch.dtype:
    """Choose what a model is converted to when it is read."""
    # on a CPU, what is not multiplied in bfloat16 is faster, and more exact, in float32
    return torch.float32 if device().type == "cpu" else stored


def save_companions(loaded: Loaded, folder: Path) -> None:
    """Write what `save` writes beside a model's weights: its configs and its modality's files."""
    model, config = loaded.model, deepcopy(loaded.model.config)
    dtype = str(loaded.dtype).removeprefix("torch.")
    config.update({"dtype": dtype, "architectures": [type(model).__name__]})
    with quiet():
        config.save_pretrained(folder)
        if getattr(model, "generation_config", None) is not None:
            model.generation_config.save_pretrained(folder)
        loaded.modality.save(folder)


def save(loaded: Loaded, folder: Path) -> dict[str, FileEntry]:
    """Write a model as a Hugging Face folder, in the dtype that it is meant to have on disk.

    Returns:
        Size and SHA-256 of each file of weights.
    """
    save_companions(loaded, folder)
    return write_weights(loaded.model, loaded.tensors, folder, loaded.dtype)


def _moved(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """Move a model, in place, to the device and to a dtype."""
    nn.Module.to(model, device(), dtype)
    return model
