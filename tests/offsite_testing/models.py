"""Small real models on disk: random weights, and a byte-level tokenizer trained on the spot."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers.image_processing_utils import BaseImageProcessor
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from offsite.families import family_of
from offsite.layers import quiet
from offsite_testing.tiny import SIDE, tiny_model

WORDS = "the quick brown fox jumps over the lazy dog while seven wizards brew a strange potion"


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Make a byte-level BPE tokenizer of 280 tokens, `<end>` among them."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # noqa: V101 - tokenizers reads it
    raw.decoder = decoders.ByteLevel()  # noqa: V101 - so too
    trainer = trainers.BpeTrainer(
        vocab_size=280,
        special_tokens=["<end>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator([WORDS], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<end>")


def tiny_processor(model: PreTrainedModel) -> BaseImageProcessor:
    """Make an image processor for a tiny vision model."""
    if family_of(model.config.to_dict()).resolution == "patches":
        return Siglip2ImageProcessorPil(patch_size=4, max_num_patches=25)
    return ViTImageProcessorPil(size={"height": SIDE, "width": SIDE})


def companion(model: PreTrainedModel) -> PreTrainedTokenizerFast | BaseImageProcessor:
    """Make what stands beside a tiny model: a tokenizer, or an image processor."""
    if family_of(model.config.to_dict()).modality == "text":
        return tiny_tokenizer()
    return tiny_processor(model)


def save_tiny(
    folder: Path,
    model_type: str = "llama",
    *,
    dtype: torch.dtype = torch.float32,
    shard: str = "2GB",
    **over: Any,
) -> PreTrainedModel:
    """Write a random model, with its tokenizer or image processor, to a folder; give the model."""
    text = family_of({"model_type": model_type}).modality == "text"
    model = tiny_model(model_type, **{**({"vocab_size": 288} if text else {}), **over})
    nn.Module.to(model, dtype)
    with quiet():
        model.save_pretrained(folder, max_shard_size=shard)
        companion(model).save_pretrained(folder)
    return model
