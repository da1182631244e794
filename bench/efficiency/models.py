"""Random models of a shape: in memory for the baselines, and an emulator's folder for offsite."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from efficiency.shapes import Shape
from offsite.layers import device, quiet
from offsite.store import whole_folder


def random_model(shape: Shape, dtype: torch.dtype, *, emulator: bool = False) -> PreTrainedModel:
    """Make a model with random weights, where the device has them."""
    torch.manual_seed(0)
    config = config_of(shape, emulator=emulator)
    with quiet(), device():
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=dtype)
    return model


def write_emulator(shape: Shape, folder: Path) -> None:
    """Write a random emulator as a data owner finds it: bfloat16, and a tokenizer beside it.

    Of an emulator, which blocks of the full model it kept makes no difference to speed or memory.
    So the full model is not made.
    """
    if folder.exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with whole_folder(folder) as partial, quiet():
        random_model(shape, torch.bfloat16, emulator=True).save_pretrained(partial)
        byte_tokenizer().save_pretrained(partial)


def config_of(shape: Shape, *, emulator: bool = False) -> PreTrainedConfig:
    """Make the config of the full model of a shape, or of its emulator."""
    fields: dict[str, Any] = shape.fields(emulator=emulator)
    # ids of the tokenizer below
    ends = {"bos_token_id": 1, "eos_token_id": 1, "pad_token_id": None}
    config: PreTrainedConfig = AutoConfig.for_model(
        shape.model_type, **fields, **ends, use_cache=False
    )
    return config


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Make a tokenizer that knows bytes alone. It is loaded with the model, and reads nothing."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate(["<pad>", "<end>", *alphabet])}
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # noqa: V101 - tokenizers reads it
    raw.decoder = decoders.ByteLevel()  # noqa: V101 - so too
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<end>")
