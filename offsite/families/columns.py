"""The columns of the family table."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from offsite.families.modules import Config, Module, Sizes

Pooling = Literal["first", "patches", "first+patches", "all"]
"""What a classifier reads of the hidden states: the class token, the mean of the patches, both one
after the other, or the mean of everything."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """One model architecture. Paths are attribute paths below the model of `architecture`."""

    model_type: str
    """`model_type` in config.json."""
    architecture: str
    """The class in transformers, as in `architectures` in config.json."""
    blocks: str
    """Path of the list of blocks."""
    modality: str = "text"
    """The kind of its inputs: a key of `offsite.modality.MODALITIES`."""
    arguments: Config = field(default_factory=lambda: {"use_cache": False})
    """What the base model is called with, in addition to its inputs."""
    config_under: str = ""
    """The key of config.json below which the sizes are, such as `vision_config`; empty: the top."""
    resolution: Literal["fixed", "any", "patches"] = "fixed"
    """Which images it reads: of its config's `image_size`, of any size, or cut into patches."""
    pooling: Pooling | None = None
    """What the head reads of the hidden states; None: each of them."""
    pooling_norm: str | None = None
    """The module that normalizes what is pooled, before the head; None: there is none."""
    prefix_tokens: Callable[[Config], int] = lambda _: 0
    """Counts the class and register tokens before the patches, from a complete config."""
    dims: Callable[[Config], Sizes]
    """Computes the size of each dimension that `block` and `outer` name, from a complete config."""
    block: tuple[Module, ...]
    """The modules of a block that have tensors. Paths are relative to the block."""
    outer: tuple[Module, ...]
    """All other modules that have tensors: embeddings, final norm, head."""
    config_keys: frozenset[str]
    """The keys that config.json may have in addition to `COMMON_KEYS`."""
    defaults: Config
    """Default values in transformers, of the keys that this row reads."""
    depth: str = "num_hidden_layers"
    """The config key with the number of blocks."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Other names that transformers accepts for a config key."""
    per_block: Mapping[str, Callable[[Config], Sequence[Any]]] = field(default_factory=dict)
    """Config keys with a list of one entry per block, and the function of the default list."""
    boundaries: tuple[str, ...] = ()
    """Config keys that count blocks from the bottom. They change when blocks are dropped."""
    attention: str = "sdpa"
    """The attention implementation to request from transformers; a config cannot choose it."""
    rope_per_type: bool = False
    """Whether `rope_parameters` has one entry for each layer type."""
    transposed: bool = False
    """Whether weights are stored as (in, out), like GPT-2's Conv1D, instead of (out, in)."""
    heal: str | None = None
    """The last projection of a block before the residual sum. Healing changes its weight."""
    heads: Mapping[str, str] = field(default_factory=dict)
    """Modules outside the blocks that an adapter may train: paths by their name in bundles, such as
    `head`. Language models have none."""
    heal_scale: str | None = None
    """The vector of a block by which that projection's output is multiplied (layer scale)."""
    unhealable: Config = field(default_factory=dict)
    """Config values with which the model cannot be healed (OPT's post-norm)."""
    beyond: frozenset[str] = frozenset()
    """Special tokens that a tokenizer may have and its model may lack, such as for images."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Config keys that must not be true, with the reason."""
    buffers: frozenset[str] = frozenset()
    """Buffers of a block that older checkpoints store although they are computed."""
    older_names: tuple[tuple[str, str], ...] = ()
    """Parts of tensor names in older checkpoints, and what replaces them, one after the other."""
    ignored: re.Pattern[str] | None = None
    """The names of tensors that a checkpoint may have for other tasks, such as a text tower."""
    unread: frozenset[str] = frozenset()
    """Config keys that the classifier does not depend on. Bundles do not have them."""
