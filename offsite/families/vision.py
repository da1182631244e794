"""Families that classify images: vision transformers, with a linear head or none.

A head is the module `classifier`. A model without one has an empty `id2label`.
"""

import re
from typing import Any

from offsite.families import keys
from offsite.families.modules import (
    Config,
    Convolution,
    Linear,
    Module,
    Norm,
    Parameter,
    Table,
    whole,
)
from offsite.families.row import Family, label_count

_SHARED: dict[str, Any] = {
    "modality": "images",
    "arguments": {},
    "heads": {"head": "classifier"},
    "prefix_tokens": lambda _: 1,
}


def _dims(config: Config, inner: int, prefix: int = 1, features: int = 1) -> dict[str, int]:
    """Return the dimensions of a vision transformer.

    Args:
        inner: The inner size of the MLP.
        prefix: The positions before the patches.
        features: How many vectors the head reads.
    """
    width, image, patch = (whole(config, k) for k in ("hidden_size", "image_size", "patch_size"))
    if patch > image:
        raise ValueError(f"patch_size: {patch} is larger than the image_size {image}")
    sizes = {
        "D": width,
        "3D": 3 * width,
        "F": inner,
        "C": whole(config, "num_channels"),
        "K": patch,
    }
    sizes |= {"P": (image // patch) ** 2 + prefix, "H": features * width}
    labels = label_count(config)
    return {**sizes, "L": labels} if labels else sizes


def _vit_dims(config: Config) -> dict[str, int]:
    return _dims(config, whole(config, "intermediate_size"))


def _dinov2_dims(config: Config) -> dict[str, int]:
    return _dims(config, whole(config, "hidden_size") * whole(config, "mlp_ratio"), features=2)


def _siglip_dims(config: Config) -> dict[str, int]:
    return _dims(config, whole(config, "intermediate_size"), prefix=0)


def _has_labels(config: Config) -> bool:
    return label_count(config) > 0


def _head(bias: bool = True) -> Linear:
    return Linear("classifier", "H", "L", bias, when=_has_labels)


def _attention(path: str, output: str, bias: bool | str = True) -> tuple[Module, ...]:
    projections = ("q_proj", "k_proj", "v_proj")
    return (
        *(Linear(f"{path}.{name}", "D", "D", bias) for name in projections),
        Linear(f"{path}.{output}", "D", "D", True),
    )


_BASE = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 224,
    "num_channels": 3,
}
_DINOV2 = {"mlp_ratio": 4, "qkv_bias": True, "use_swiglu_ffn": False}
_OLDER_ATTENTION = (
    ("attention.attention.query.", "attention.q_proj."),
    ("attention.attention.key.", "attention.k_proj."),
    ("attention.attention.value.", "attention.v_proj."),
    ("attention.output.dense.", "attention.o_proj."),
)
_SWIGLU = {"use_swiglu_ffn": "the gated blocks of the giant model are not supported"}
_MLP: tuple[Module, ...] = (Linear("mlp.fc1", "D", "F", True), Linear("mlp.fc2", "F", "D", True))
_SCALED: tuple[Module, ...] = (
    Norm("norm1", bias=True),
    *_attention("attention", "o_proj", "qkv_bias"),
    Parameter("layer_scale1.lambda1", ("D",)),
    Norm("norm2", bias=True),
    *_MLP,
    Parameter("layer_scale2.lambda1", ("D",)),
)
_TOWER: tuple[Module, ...] = (
    Norm("layer_norm1", bias=True),
    *_attention("self_attn", "out_proj"),
    Norm("layer_norm2", bias=True),
    *_MLP,
)


_POOLING_HEAD = (
    Parameter("vision_model.head.probe", (1, 1, "D"), when="vision_use_head"),
    Parameter("vision_model.head.attention.in_proj_weight", ("3D", "D"), when="vision_use_head"),
    Parameter("vision_model.head.attention.in_proj_bias", ("3D",), when="vision_use_head"),
    Linear("vision_model.head.attention.out_proj", "D", "D", True, when="vision_use_head"),
    Norm("vision_model.head.layernorm", bias=True, when="vision_use_head"),
    Linear("vision_model.head.mlp.fc1", "D", "F", True, when="vision_use_head"),
    Linear("vision_model.head.mlp.fc2", "F", "D", True, when="vision_use_head"),
)
"""SigLIP's attention pooling, which transformers builds and its classifier does not read."""
_OF_TEXT = re.compile(
    r"(vision|text)_model\.embeddings\.position_ids|text_model\..*"
    r"|(text|visual)_projection\.weight|logit_scale|logit_bias"
)


VISION: tuple[Family, ...] = (
    Family(
        model_type="vit",
        architecture="ViTForImageClassification",
        blocks="vit.layers",
        dims=_vit_dims,
        block=(
            *_attention("attention", "o_proj", "qkv_bias"),
            Norm("layernorm_before", bias=True),
            Norm("layernorm_after", bias=True),
            *_MLP,
        ),
        outer=(
            Parameter("vit.embeddings.cls_token", (1, 1, "D")),
            Parameter("vit.embeddings.position_embeddings", (1, "P", "D")),
            Convolution("vit.embeddings.patch_embeddings.projection", "C", "D"),
            Norm("vit.layernorm", bias=True),
            _head(),
        ),
        pooling="first",
        heal="mlp.fc2",
        defaults={**_BASE, "intermediate_size": 3072, "patch_size": 16, "qkv_bias": True},
        config_keys=keys.VIT,
        older_names=(
            ("encoder.layer.", "layers."),
            *_OLDER_ATTENTION,
            ("intermediate.dense.", "mlp.fc1."),
            ("output.dense.", "mlp.fc2."),
        ),
        ignored=re.compile(r"(vit\.)?pooler\..*"),
        **_SHARED,
    ),
    Family(
        model_type="dinov2",
        architecture="Dinov2ForImageClassification",
        blocks="dinov2.encoder.layer",
        dims=_dinov2_dims,
        block=_SCALED,
        outer=(
            Parameter("dinov2.embeddings.cls_token", (1, 1, "D")),
            Parameter("dinov2.embeddings.mask_token", (1, "D"), when="use_mask_token"),
            Parameter("dinov2.embeddings.position_embeddings", (1, "P", "D")),
            Convolution("dinov2.embeddings.patch_embeddings.projection", "C", "D"),
            Norm("dinov2.layernorm", bias=True),
            _head(),
        ),
        resolution="any",
        pooling="first+patches",
        heal="mlp.fc2",
        heal_scale="layer_scale2.lambda1",
        defaults={**_BASE, **_DINOV2, "patch_size": 14, "use_mask_token": True},
        config_keys=keys.DINOV2,
        older_names=_OLDER_ATTENTION,
        unread=keys.BACKBONE,
        refused=_SWIGLU,
        **_SHARED,
    ),
    Family(
        model_type="clip",
        architecture="CLIPForImageClassification",
        blocks="vision_model.encoder.layers",
        config_under="vision_config",
        dims=_vit_dims,
        block=_TOWER,
        outer=(
            Parameter("vision_model.embeddings.class_embedding", ("D",)),
            Convolution("vision_model.embeddings.patch_embedding", "C", "D", bias=False),
            Table("vision_model.embeddings.position_embedding", "P"),
            # transformers spells it so
            Norm("vision_model.pre_layrnorm", bias=True),
            Norm("vision_model.post_layernorm", bias=True),
            _head(),
        ),
        pooling="patches",
        heal="mlp.fc2",
        defaults={**_BASE, "intermediate_size": 3072, "patch_size": 32},
        config_keys=keys.TOWER,
        unread=keys.BESIDE_TOWER,
        ignored=_OF_TEXT,
        **_SHARED,
    ),
    Family(
        model_type="siglip",
        architecture="SiglipForImageClassification",
        blocks="vision_model.encoder.layers",
        config_under="vision_config",
        dims=_siglip_dims,
        block=_TOWER,
        outer=(
            Convolution("vision_model.embeddings.patch_embedding", "C", "D"),
            Table("vision_model.embeddings.position_embedding", "P"),
            Norm("vision_model.post_layernorm", bias=True),
            *_POOLING_HEAD,
            _head(),
        ),
        pooling="all",
        heal="mlp.fc2",
        defaults={**_BASE, "intermediate_size": 3072, "patch_size": 16, "vision_use_head": True},
        config_keys=keys.TOWER | {"vision_use_head"},
        unread=keys.BESIDE_TOWER,
        ignored=_OF_TEXT,
        **_SHARED,
    ),
)
