"""Families that classify images: vision transformers, with a linear head or none.

A head is the module `classifier`. A model without one has an empty `id2label`.
"""

import re
from typing import Any

from offsite.families import keys
from offsite.families import vision_parts as parts
from offsite.families.modules import Convolution, Linear, Norm, Parameter, Table
from offsite.families.row import Family

_SHARED: dict[str, Any] = {
    "modality": "images",
    "arguments": {},
    "heads": {"head": "classifier"},
    "prefix_tokens": lambda _: 1,
}
_PATCHES_ALONE = {**_SHARED, "prefix_tokens": lambda _: 0}


VISION: tuple[Family, ...] = (
    Family(
        model_type="vit",
        architecture="ViTForImageClassification",
        blocks="vit.layers",
        dims=parts.vit_dims,
        block=(
            *parts.attention("attention", "o_proj", "qkv_bias"),
            Norm("layernorm_before", bias=True),
            Norm("layernorm_after", bias=True),
            *parts.MLP,
        ),
        outer=(
            *parts.embeddings("vit"),
            parts.HEAD,
        ),
        pooling="first",
        heal="mlp.fc2",
        defaults={
            **parts.BASE,
            "intermediate_size": 3072,
            "patch_size": 16,
            "qkv_bias": True,
        },
        config_keys=keys.VIT,
        older_names=(
            ("encoder.layer.", "layers."),
            *parts.OLDER_ATTENTION,
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
        dims=parts.dinov2_dims,
        block=parts.SCALED,
        outer=(
            *parts.embeddings("dinov2"),
            Parameter("dinov2.embeddings.mask_token", (1, "D"), when="use_mask_token"),
            parts.HEAD,
        ),
        resolution="any",
        pooling="first+patches",
        heal="mlp.fc2",
        heal_scale="layer_scale2.lambda1",
        defaults={
            **parts.BASE,
            **parts.DINOV2,
            "patch_size": 14,
            "use_mask_token": True,
        },
        config_keys=keys.DINOV2 | {"use_mask_token"},
        older_names=parts.OLDER_ATTENTION,
        unread=keys.BACKBONE,
        refused=parts.SWIGLU,
        **_SHARED,
    ),
    Family(
        model_type="dinov2_with_registers",
        architecture="Dinov2WithRegistersForImageClassification",
        blocks="dinov2_with_registers.encoder.layer",
        dims=parts.dinov2_dims,
        block=parts.SCALED,
        outer=(
            *parts.embeddings("dinov2_with_registers"),
            Parameter("dinov2_with_registers.embeddings.mask_token", (1, "D")),
            Parameter("dinov2_with_registers.embeddings.register_tokens", (1, "R", "D")),
            parts.HEAD,
        ),
        resolution="any",
        pooling="first+patches",
        heal="mlp.fc2",
        heal_scale="layer_scale2.lambda1",
        defaults={
            **parts.BASE,
            **parts.DINOV2,
            "patch_size": 16,
            "num_register_tokens": 4,
        },
        config_keys=keys.DINOV2 | {"num_register_tokens"},
        older_names=parts.OLDER_ATTENTION,
        unread=keys.BACKBONE,
        refused=parts.SWIGLU,
        **{**_SHARED, "prefix_tokens": parts.class_and_registers},
    ),
    Family(
        model_type="clip",
        architecture="CLIPForImageClassification",
        blocks="vision_model.encoder.layers",
        config_under="vision_config",
        dims=parts.vit_dims,
        block=parts.TOWER,
        outer=(
            Parameter("vision_model.embeddings.class_embedding", ("D",)),
            Convolution("vision_model.embeddings.patch_embedding", "C", "D", bias=False),
            Table("vision_model.embeddings.position_embedding", "P"),
            # transformers spells it so
            Norm("vision_model.pre_layrnorm", bias=True),
            Norm("vision_model.post_layernorm", bias=True),
            parts.HEAD,
        ),
        pooling="patches",
        heal="mlp.fc2",
        defaults={**parts.BASE, "intermediate_size": 3072, "patch_size": 32},
        config_keys=keys.TOWER,
        unread=keys.BESIDE_TOWER,
        ignored=parts.OF_TEXT,
        **_SHARED,
    ),
    Family(
        model_type="siglip",
        architecture="SiglipForImageClassification",
        blocks="vision_model.encoder.layers",
        config_under="vision_config",
        dims=parts.siglip_dims,
        block=parts.TOWER,
        outer=(
            Convolution("vision_model.embeddings.patch_embedding", "C", "D"),
            Table("vision_model.embeddings.position_embedding", "P"),
            Norm("vision_model.post_layernorm", bias=True),
            *parts.POOLING_HEAD,
            parts.HEAD,
        ),
        pooling="all",
        heal="mlp.fc2",
        defaults={
            **parts.BASE,
            "intermediate_size": 3072,
            "patch_size": 16,
            "vision_use_head": True,
        },
        config_keys=keys.TOWER | {"vision_use_head"},
        unread=keys.BESIDE_TOWER,
        ignored=parts.OF_TEXT,
        **_PATCHES_ALONE,
    ),
    Family(
        model_type="siglip2",
        architecture="Siglip2ForImageClassification",
        blocks="vision_model.encoder.layers",
        config_under="vision_config",
        dims=parts.siglip2_dims,
        block=parts.TOWER,
        outer=(
            Linear("vision_model.embeddings.patch_embedding", "CKK", "D", True),
            Table("vision_model.embeddings.position_embedding", "P"),
            Norm("vision_model.post_layernorm", bias=True),
            *parts.POOLING_HEAD,
            parts.HEAD,
        ),
        resolution="patches",
        pooling="all",
        heal="mlp.fc2",
        defaults={
            **parts.FLAT,
            "intermediate_size": 3072,
            "patch_size": 16,
            "vision_use_head": True,
        },
        config_keys=(keys.TOWER - {"image_size"}) | {"vision_use_head", "num_patches"},
        unread=keys.BESIDE_TOWER,
        ignored=parts.OF_TEXT,
        **_PATCHES_ALONE,
    ),
)
