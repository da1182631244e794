"""Parts that several rows of vision models share: dimensions, groups of modules, names."""

import re
from math import isqrt

from offsite.families.modules import Config, Convolution, Linear, Module, Norm, Parameter, whole
from offsite.families.row import label_count


def dims(config: Config, inner: int, prefix: int = 1, features: int = 1) -> dict[str, int]:
    """Return the dimensions of a vision transformer.

    Args:
        inner: The inner size of the MLP.
        prefix: The positions before the patches.
        features: How many vectors the head reads.
    """
    width, image, patch = (whole(config, k) for k in ("hidden_size", "image_size", "patch_size"))
    if patch > image:
        raise ValueError(f"patch_size: {patch} is larger than the image_size {image}")
    sizes = {"D": width, "3D": 3 * width, "H": features * width, "F": inner, "K": patch}
    sizes |= {"C": whole(config, "num_channels"), "P": (image // patch) ** 2 + prefix}
    labels = label_count(config)
    return {**sizes, "L": labels} if labels else sizes


def vit_dims(config: Config) -> dict[str, int]:
    """Return the dimensions of ViT and CLIP."""
    return dims(config, whole(config, "intermediate_size"))


def dinov2_dims(config: Config) -> dict[str, int]:
    """Return the dimensions of DINOv2, with registers or without."""
    inner = whole(config, "hidden_size") * whole(config, "mlp_ratio")
    registers = {"R": config["num_register_tokens"]} if "num_register_tokens" in config else {}
    return {**dims(config, inner, features=2), **registers}


def beit_dims(config: Config) -> dict[str, int]:
    """Return the dimensions of BEiT, with a table of position biases of R rows for A heads."""
    sizes = vit_dims(config)
    side = 2 * isqrt(sizes["P"] - 1) - 1
    return {**sizes, "R": side**2 + 3, "A": whole(config, "num_attention_heads")}


def class_and_registers(config: Config) -> int:
    """Count the positions before the patches of a model with registers."""
    return 1 + whole(config, "num_register_tokens")


def siglip_dims(config: Config) -> dict[str, int]:
    """Return the dimensions of a model without a class token."""
    return dims(config, whole(config, "intermediate_size"), prefix=0)


def siglip2_dims(config: Config) -> dict[str, int]:
    """Return the dimensions of a model whose images come as flat patches, of any number."""
    positions, patch = whole(config, "num_patches"), whole(config, "patch_size")
    side = isqrt(positions)
    if side**2 != positions:
        raise ValueError(f"num_patches: {positions} is not a square number")
    sizes = siglip_dims({**config, "image_size": side * patch})
    return {**sizes, "CKK": sizes["C"] * patch**2}


HEAD = Linear("classifier", "H", "L", True, when=lambda config: label_count(config) > 0)
"""A model without classes has none."""


def embeddings(base: str) -> tuple[Module, ...]:
    """List the embeddings and the final norm of ViT and DINOv2."""
    return (
        Parameter(f"{base}.embeddings.cls_token", (1, 1, "D")),
        Parameter(f"{base}.embeddings.position_embeddings", (1, "P", "D")),
        Convolution(f"{base}.embeddings.patch_embeddings.projection", "C", "D"),
        Norm(f"{base}.layernorm", bias=True),
    )


def attention(path: str, output: str, bias: bool | str = True) -> tuple[Module, ...]:
    """List the projections of an attention. `bias` is that of query, key and value."""
    projections = ("q_proj", "k_proj", "v_proj")
    return (
        *(Linear(f"{path}.{name}", "D", "D", bias) for name in projections),
        Linear(f"{path}.{output}", "D", "D", True),
    )


BASE = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 224,
    "num_channels": 3,
}
FLAT = {key: value for key, value in BASE.items() if key != "image_size"} | {"num_patches": 256}
DINOV2 = {"mlp_ratio": 4, "qkv_bias": True, "use_swiglu_ffn": False}
OLDER_ATTENTION = (
    ("attention.attention.query.", "attention.q_proj."),
    ("attention.attention.key.", "attention.k_proj."),
    ("attention.attention.value.", "attention.v_proj."),
    ("attention.output.dense.", "attention.o_proj."),
)
OLDER_VIT = (
    ("encoder.layer.", "layers."),
    *OLDER_ATTENTION,
    ("intermediate.dense.", "mlp.fc1."),
    ("output.dense.", "mlp.fc2."),
)
BEIT = {
    "use_mask_token": False,
    "use_absolute_position_embeddings": False,
    "use_relative_position_bias": False,
    "use_shared_relative_position_bias": False,
}
SWIGLU = {"use_swiglu_ffn": "the gated blocks of the giant model are not supported"}
MLP: tuple[Module, ...] = (Linear("mlp.fc1", "D", "F", True), Linear("mlp.fc2", "F", "D", True))
SCALED: tuple[Module, ...] = (
    Norm("norm1", bias=True),
    *attention("attention", "o_proj", "qkv_bias"),
    Parameter("layer_scale1.lambda1", ("D",)),
    Norm("norm2", bias=True),
    *MLP,
    Parameter("layer_scale2.lambda1", ("D",)),
)
"""A block of DINOv2, with a scale of what each half adds."""
TOWER: tuple[Module, ...] = (
    Norm("layer_norm1", bias=True),
    *attention("self_attn", "out_proj"),
    Norm("layer_norm2", bias=True),
    *MLP,
)
"""A block of CLIP and SigLIP."""
POOLING_HEAD = (
    Parameter("vision_model.head.probe", (1, 1, "D"), when="vision_use_head"),
    Parameter("vision_model.head.attention.in_proj_weight", ("3D", "D"), when="vision_use_head"),
    Parameter("vision_model.head.attention.in_proj_bias", ("3D",), when="vision_use_head"),
    Linear("vision_model.head.attention.out_proj", "D", "D", True, when="vision_use_head"),
    Norm("vision_model.head.layernorm", bias=True, when="vision_use_head"),
    Linear("vision_model.head.mlp.fc1", "D", "F", True, when="vision_use_head"),
    Linear("vision_model.head.mlp.fc2", "F", "D", True, when="vision_use_head"),
)
"""SigLIP's attention pooling, which transformers builds and its classifier does not read."""
OF_TEXT = re.compile(
    r"(vision|text)_model\.embeddings\.position_ids|text_model\..*"
    r"|(text|visual)_projection\.weight|logit_scale|logit_bias"
)
