"""Tiny models of every family, with random weights: six blocks, a width of 32, 96 tokens, 20 by 20
pixels."""

from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.initialization import no_init_weights

from offsite.families import Family, family_of

DEPTH = 6
SIDE = 20
"""Of a tiny image, in pixels."""

_TOKENS = {"vocab_size": 96, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
_SIZES = {**_TOKENS, "hidden_size": 32, "num_attention_heads": 4, "max_position_embeddings": 64}
_LAYERS = {**_SIZES, "num_hidden_layers": DEPTH}
_PLAIN = {**_LAYERS, "intermediate_size": 48}
# A head size that the width does not imply, so that the two cannot be mixed up.
_GROUPED = {**_PLAIN, "num_key_value_heads": 2, "head_dim": 12}

_IMAGE = {"image_size": SIDE, "patch_size": 4}
_LABELS = {"num_labels": 3}
_VISION = {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": DEPTH, **_IMAGE}

_PATCHES = {key: value for key, value in _VISION.items() if key != "image_size"}
_PATCHES |= {"num_patches": 25}

LANGUAGE: dict[str, dict[str, Any]] = {
    "gpt2": {**_TOKENS, "n_embd": 32, "n_layer": DEPTH, "n_head": 4, "n_positions": 64},
    "opt": {**_LAYERS, "ffn_dim": 48},
    "bloom": {**_TOKENS, "hidden_size": 32, "n_layer": DEPTH, "n_head": 4},
    "gpt_neox": _PLAIN,
    "phi": {**_PLAIN, "num_key_value_heads": 2},
    "llama": _GROUPED,
    "mistral": {**_GROUPED, "sliding_window": 5},
    "qwen2": {**_PLAIN, "num_key_value_heads": 2},
    "qwen3": _GROUPED,
    "gemma": _GROUPED,
    "gemma2": {**_GROUPED, "sliding_window": 5},
    "gemma3_text": {**_GROUPED, "sliding_window": 5},
}
VISION: dict[str, dict[str, Any]] = {
    "vit": {**_VISION, **_LABELS, "intermediate_size": 48},
    "clip": {"vision_config": {**_VISION, "intermediate_size": 48}, **_LABELS},
    "siglip2": {"vision_config": {**_PATCHES, "intermediate_size": 48}, **_LABELS},
    "siglip": {"vision_config": {**_VISION, "intermediate_size": 48}, **_LABELS},
    "beit": {**_VISION, **_LABELS, "intermediate_size": 48},
    "dinov2": {**_VISION, **_LABELS, "mlp_ratio": 2},
    "dinov2_with_registers": {**_VISION, **_LABELS, "mlp_ratio": 2, "num_register_tokens": 2},
}
FAMILIES_UNDER_TEST = {**LANGUAGE, **VISION}
"""The size of a tiny model of each family; what is not said here is as its config has it."""

_SLIDING = {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 3}
_MIXED = ["full_attention", "sliding_attention", "sliding_attention"] * 2

VARIANTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("gpt2", {"tie_word_embeddings": False, "n_inner": 40, "reorder_and_upcast_attn": True}),
    ("opt", {"enable_bias": False, "layer_norm_elementwise_affine": False}),
    ("opt", {"do_layer_norm_before": False, "word_embed_proj_dim": 16}),
    ("opt", {"_remove_final_layer_norm": True, "tie_word_embeddings": False}),
    ("opt", {"word_embed_proj_dim": 16, "tie_word_embeddings": False}),
    ("bloom", {"tie_word_embeddings": False, "apply_residual_connection_post_layernorm": True}),
    ("gpt_neox", {"tie_word_embeddings": True, "attention_bias": False}),
    ("gpt_neox", {"use_parallel_residual": False}),
    ("phi", {"tie_word_embeddings": True, "qk_layernorm": True}),
    ("llama", {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True}),
    ("llama", {"num_key_value_heads": None, "head_dim": None}),
    ("mistral", {"tie_word_embeddings": True, "sliding_window": None, "head_dim": None}),
    ("qwen2", {"tie_word_embeddings": True, **_SLIDING}),
    ("qwen3", {"tie_word_embeddings": True, "attention_bias": True, **_SLIDING}),
    ("qwen3", {"layer_types": _MIXED, **_SLIDING}),
    ("gemma", {"tie_word_embeddings": False, "attention_bias": True}),
    ("gemma2", {"tie_word_embeddings": False, "attention_bias": True, "layer_types": _MIXED}),
    ("gemma3_text", {"tie_word_embeddings": False, "attention_bias": True}),
    ("gemma3_text", {"sliding_window_pattern": 2}),
    ("beit", {"use_relative_position_bias": True, "num_labels": 0}),
    (
        "beit",
        {
            "use_shared_relative_position_bias": True,
            "use_mask_token": True,
            "use_absolute_position_embeddings": True,
        },
    ),
    ("siglip", {"num_labels": 0}),
    ("vit", {"qkv_bias": False, "num_labels": 0}),
    ("dinov2", {"use_mask_token": False, "num_labels": 0}),
)
"""What a family may also be: other tensors, or blocks that differ from each other."""


def some_inputs(model: PreTrainedModel, rows: int = 2, seed: int = 0) -> dict[str, Tensor]:
    """Draw what a tiny model reads: tokens that are not special, or pixels."""
    draw = torch.Generator().manual_seed(seed)
    if family_of(model.config.to_dict()).modality == "text":
        return {"input_ids": torch.randint(3, 96, (rows, 14), generator=draw)}
    if family_of(model.config.to_dict()).resolution == "patches":
        return _some_patches(rows, draw)
    return {"pixel_values": torch.randn(rows, 3, SIDE, SIDE, generator=draw)}


def _some_patches(rows: int, draw: torch.Generator) -> dict[str, Tensor]:
    """Draw images of 5 by 5 patches, except the last one: of 4 by 6, and padding."""
    mask = torch.ones(rows, 25, dtype=torch.int32)
    mask[-1, 24:] = 0
    shapes = torch.tensor([[5, 5]] * (rows - 1) + [[4, 6]])
    pixels = torch.randn(rows, 25, 48, generator=draw)
    return {"pixel_values": pixels, "pixel_attention_mask": mask, "spatial_shapes": shapes}


def tiny_config(model_type: str, **over: Any) -> PreTrainedConfig:
    """Make the config of a tiny model."""
    config: PreTrainedConfig = AutoConfig.for_model(
        model_type, **{**FAMILIES_UNDER_TEST[model_type], **over}
    )
    return config


def tiny_model(model_type: str, seed: int = 0, **over: Any) -> PreTrainedModel:
    """Make a tiny model of which no tensor is all zeros or ones."""
    return model_from(tiny_config(model_type, **over), seed)


def model_from(config: PreTrainedConfig, seed: int = 0) -> PreTrainedModel:
    """Make a model of a config, in evaluation mode, with weights that a seed determines."""
    row = family_of(config.to_dict())
    made: Any = getattr(transformers, row.architecture)
    # every tensor is drawn below; and SigLIP cannot initialize a model without a head
    with no_init_weights():
        model: PreTrainedModel = made._from_config(config, attn_implementation=row.attention)
    model.tie_weights()  # which is a part of the initialization
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.2, generator=draw)
    model.eval()
    return model


def sent_config(family: Family, **over: Any) -> dict[str, Any]:
    """Make a config.json with only the required keys."""
    head = {"model_type": family.model_type, "architectures": [family.architecture]}
    sizes = {**head, **FAMILIES_UNDER_TEST[family.model_type]}
    if under := family.config_under:
        sizes[under] = {**sizes[under], **over}
    else:
        sizes |= over
    if (count := sizes.pop("num_labels", None)) is not None:
        sizes["id2label"] = {str(number): f"label {number}" for number in range(count)}
    return sizes
