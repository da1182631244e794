"""Models from and to the disk, and from tensors that are in memory already."""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from offsite.bundle import check_original, check_tensors
from offsite.bundle.manifest import FileEntry
from offsite.errors import ModelError, OffsiteError
from offsite.families import Family, family_of
from offsite.layers.hardware import device
from offsite.layers.writing import KINDS, write_weights
from offsite.modality import LOCAL, MODALITIES, Modality, is_panic

_DTYPES = {name: dtype for dtype, name in KINDS.items()}


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' own progress bars and warnings off the terminal."""
    level = transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        transformers_logging.enable_progress_bar()


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


def load(folder: Path) -> Loaded:
    """Load a model from a folder, frozen and in evaluation mode.

    Reads `safetensors` only, and runs no code that lies in the folder.

    Raises:
        UnknownFamilyError: the architecture has no row in the family table.
        ModelError: there is no such model, or its files are damaged, or its companion files
            are those of another model.
    """
    names = check_original(folder)
    try:
        with quiet(), _alone(folder, names) as view:
            return _open(folder, view)
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
    config, row = _checked_config(folder, view)
    stored = _stored_dtype(folder, row, config.to_dict())
    # on a CPU, what is not multiplied in bfloat16 is faster, and more exact, in float32
    wanted = torch.float32 if device().type == "cpu" else stored
    model, found = _built(row, config, view, dtype=wanted, use_safetensors=True, **LOCAL)
    _check_found(f"the model {folder}", model, found)
    for name, tensor in model.state_dict().items():
        if not tensor.isfinite().all():
            raise ModelError(f"the model {folder} holds a value in {name} that is not finite")
    modality = MODALITIES[row.modality].open(view, folder, row, model)
    return Loaded(freeze(_moved(model, wanted)), modality, stored)


def _built(
    row: Family, config: PreTrainedConfig, source: Path | None, **options: Any
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """Build a model, and say what transformers found of its tensors.

    A model without a head gets one while it is built: SigLIP's initialization reads its weight
    (transformers 5.23).
    """
    headless = bool(row.heads) and not config.num_labels
    if headless:
        config.num_labels = 1
    made: Any = getattr(transformers, row.architecture).from_pretrained(
        source,
        config=config,
        output_loading_info=True,
        attn_implementation=row.attention,
        **options,
    )
    model, found = made
    if headless:
        head = row.heads["head"]
        found["missing_keys"] = {
            name for name in found["missing_keys"] if not name.startswith(f"{head}.")
        }
        model.set_submodule(head, nn.Identity())
        model.config.num_labels = model.num_labels = 0
    return model, found


def _check_found(what: str, model: PreTrainedModel, found: Mapping[str, Any]) -> None:
    """Check that transformers made up no tensor, and tied what the config ties."""
    for problem in ("missing_keys", "mismatched_keys"):
        if names := sorted(map(str, found[problem])):
            kind = problem.replace("_", " ")
            raise ModelError(f"cannot load {what}: {kind}: {', '.join(names[:3])}")
    head = model.get_output_embeddings()  # a classifier's head is tied to nothing
    tied = head is not None and model.config.tie_word_embeddings
    if tied and head.weight is not model.get_input_embeddings().weight:
        raise ModelError(
            f"{what} holds a head that differs from the token table, but its config.json ties "
            "them: correct tie_word_embeddings, or remove the head"
        )


def _checked_config(folder: Path, view: Path) -> tuple[PreTrainedConfig, Family]:
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


def _stored_dtype(folder: Path, row: Family, config: Mapping[str, Any]) -> torch.dtype:
    """Check the tensors of a model's files, and read in which dtype they are stored."""
    kinds = check_tensors(folder, row, config)
    if len(kinds) > 1 or not kinds <= _DTYPES.keys():
        raise ModelError(
            f"{folder} holds numbers of the kinds {', '.join(sorted(kinds))}; convert all of them "
            f"to one of {', '.join(_DTYPES)}"
        )
    (kind,) = kinds
    return _DTYPES[kind]


def save_companions(loaded: Loaded, folder: Path) -> None:
    """Write what `save` writes beside a model's weights: its configs and its modality's files."""
    model, config = loaded.model, deepcopy(loaded.model.config)
    config.dtype = str(loaded.dtype).removeprefix("torch.")
    config.architectures = [type(model).__name__]
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
    return write_weights(loaded.model, loaded.model.state_dict(), folder, loaded.dtype)


def assemble(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> PreTrainedModel:
    """Build a model around given tensors, without copying them.

    Raises:
        ModelError: a tensor is missing, or there is one too many.

    Args:
        config: the content of a `config.json`.
        tensors: every tensor of the model by its checkpoint name; tied ones may be absent. All of
            one dtype.
    """
    row = family_of(config)
    dtype = next(iter(tensors.values())).dtype
    with quiet():
        own = AutoConfig.for_model(**{**config, "architectures": [row.architecture]})
        model, found = _built(row, own, None, state_dict=dict(tensors), dtype=dtype)
    if surplus := sorted(found["unexpected_keys"]):
        raise ModelError(f"a model of this config has no tensor {surplus[0]}")
    _check_found("the emulator", model, found)
    return freeze(model)


def _moved(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """Move a model, in place, to the device and to a dtype."""
    nn.Module.to(model, device(), dtype)
    return model


def freeze(model: PreTrainedModel) -> PreTrainedModel:
    """Switch gradients and dropout off."""
    model.requires_grad_(False)
    model.eval()
    return model
