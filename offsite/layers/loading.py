"""Models from and to the disk, and from tensors that are in memory already."""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import safe_open
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from offsite.errors import ModelError, OffsiteError
from offsite.families import Family, family_of
from offsite.layers.hardware import device

_SHARD = "2GB"
_DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}

_LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}


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
    """A model with its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    dtype: torch.dtype
    """What its tensors are on disk; in memory they are float32 where there is no GPU."""

    @property
    def vocabulary(self) -> int:
        """How many tokens the model knows."""
        return int(self.model.get_input_embeddings().get_parameter("weight").shape[0])


def load(folder: Path) -> Loaded:
    """Load a model from a folder, frozen and in evaluation mode.

    Reads `safetensors` only, and runs no code that lies in the folder.

    Raises:
        UnknownFamilyError: the architecture has no row in the family table.
        ModelError: there is no such model, or its files are damaged, or its tokenizer is that of
            another model.
    """
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder} is not a model: it has no config.json")
    try:
        with quiet():
            return _open(folder)
    except OffsiteError:
        raise
    # of a damaged file, transformers and the libraries below it raise anything at all
    except BaseException as error:
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        reason = " ".join(str(error).split())
        raise ModelError(f"cannot load the model {folder}: {reason}") from error


def is_panic(error: BaseException) -> bool:
    """Whether a library in Rust (tokenizers) gave up; its exception is no `Exception`."""
    return type(error).__name__ == "PanicException"


def block_count(folder: Path) -> int:
    """Count the blocks of a model in a folder, which is not loaded.

    Raises:
        UnknownFamilyError: the architecture has no row in the family table.
        ModelError: there is no config.json, or it is damaged.
    """
    try:
        raw = json.loads((folder / "config.json").read_bytes())
        return family_of(raw).count(raw)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"cannot read {folder / 'config.json'}: {error!r}") from error


def _open(folder: Path) -> Loaded:
    config, row = _checked_config(folder)
    stored = _stored_dtype(folder, row, config.to_dict())
    # on a CPU, what is not multiplied in bfloat16 is faster, and more exact, in float32
    wanted = torch.float32 if device().type == "cpu" else stored
    opened: Any = AutoModelForCausalLM.from_pretrained(
        folder,
        config=config,
        output_loading_info=True,
        dtype=wanted,
        attn_implementation=row.attention,
        use_safetensors=True,
        **_LOCAL,
    )
    model, found = opened
    if lacking := sorted(found["missing_keys"]):  # transformers would make them up
        raise ModelError(f"the model {folder} lacks {len(lacking)} tensors: {lacking[0]} …")
    for name, tensor in model.state_dict().items():
        if not tensor.isfinite().all():
            raise ModelError(f"the model {folder} holds a value in {name} that is not finite")
    tokenizer = AutoTokenizer.from_pretrained(folder, **_LOCAL)
    loaded = Loaded(freeze(_moved(model, wanted)), tokenizer, stored)
    if (highest := _highest_id(tokenizer)) >= loaded.vocabulary:
        raise ModelError(
            f"the tokenizer in {folder} makes the id {highest}, but the model knows "
            f"{loaded.vocabulary} tokens only; put the model's own tokenizer there"
        )
    return loaded


def _highest_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Find the highest id that a tokenizer makes of any text, or puts before or behind it.

    Added tokens are left out: Gemma 3's has one, for images, that its text models do not know. They
    are made only of a text that names them.
    """
    vocabulary, added = tokenizer.get_vocab(), tokenizer.get_added_vocab()
    plain = [index for token, index in vocabulary.items() if token not in added]
    return max([*plain, tokenizer.bos_token_id or 0, tokenizer.eos_token_id or 0])


def _checked_config(folder: Path) -> tuple[PreTrainedConfig, Family]:
    # before transformers, which tells of a family that it does not know in its own words,
    # and makes lists of as many blocks as a damaged config says
    raw = json.loads((folder / "config.json").read_bytes())
    family_of(raw).count(raw)
    config = AutoConfig.from_pretrained(folder, **_LOCAL)
    row = family_of(config.to_dict())
    if refusals := row.refusals(config.to_dict()):
        raise ModelError(f"the model {folder} cannot be used: {'; '.join(refusals)}")
    row.sizes(config.to_dict())
    return config, row


def _stored_dtype(folder: Path, row: Family, config: Mapping[str, Any]) -> torch.dtype:
    """Read from the headers of its files in which dtype a model is stored.

    Buffers that older versions of transformers stored too do not count.
    """
    known = row.tensors(config).keys()
    bare = {name.partition(".")[2] for name in known}  # as GPT-2's first files have them
    kinds: set[str] = set()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            names = [name for name in file.keys() if name in known or name in bare]  # noqa: SIM118
            kinds |= {file.get_slice(name).get_dtype() for name in names}
    if not kinds:
        raise ModelError(f"{folder} is not a model: its *.safetensors have no tensor of one")
    if len(kinds) > 1 or not kinds <= _DTYPES.keys():
        raise ModelError(
            f"{folder} holds numbers of the kinds {', '.join(sorted(kinds))}; convert all of them "
            f"to one of {', '.join(_DTYPES)}"
        )
    return _DTYPES[kinds.pop()]


def save(loaded: Loaded, folder: Path) -> None:
    """Write a model as a Hugging Face folder, in the dtype that it is meant to have on disk."""
    _moved(loaded.model, loaded.dtype)
    with quiet():
        loaded.model.save_pretrained(folder, max_shard_size=_SHARD)
        loaded.tokenizer.save_pretrained(folder)


def assemble(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> PreTrainedModel:
    """Build a model around given tensors, without copying them.

    Args:
        config: the content of a `config.json`.
        tensors: every tensor of the model by its checkpoint name; tied ones may be absent. All of
            one dtype.
    """
    row = family_of(config)
    dtype = next(iter(tensors.values())).dtype
    with quiet():
        model: PreTrainedModel = getattr(transformers, row.architecture).from_pretrained(
            None,
            config=AutoConfig.for_model(**{**config, "architectures": [row.architecture]}),
            state_dict=dict(tensors),
            dtype=dtype,
            attn_implementation=row.attention,
        )
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
