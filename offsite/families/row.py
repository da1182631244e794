"""`Family`, a row of the family table, and what it derives from a config."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from offsite.families.keys import COMMON_KEYS
from offsite.families.modules import MAX_SIZE, Config, Linear, Module, Shape, Sizes, holds, whole

MAX_DEPTH = 1024

Pooling = Literal["first", "patches", "first+patches", "all"]
"""What a classifier reads of the hidden states: the class token, the mean of the patches, both one
after the other, or the mean of everything."""
_OF_ALL = ("model_type", "architectures", "id2label")
"""The keys that count at the top of a config that is nested."""


@dataclass(frozen=True, kw_only=True)
class Family:
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
    pooling: Pooling | None = None
    """What the head reads of the hidden states; None: each of them."""
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

    @property
    def base(self) -> str:
        """The path of the base model, which has everything but the head."""
        return self.blocks.partition(".")[0]

    def renamed(self, config: Config) -> dict[str, Any]:
        """Copy a config, with aliases replaced by their keys."""
        return {self.aliases.get(key, key): value for key, value in config.items()}

    def sized(self, config: Config) -> Config:
        """Return the part of a config that has the sizes.

        Raises:
            ValueError: It is not a table.
        """
        part = config.get(self.config_under, {}) if self.config_under else config
        if not isinstance(part, Mapping):
            raise ValueError(f"{self.config_under} must be a table")
        return part

    def complete(self, config: Config) -> dict[str, Any]:
        """Copy a config, with aliases replaced and missing keys set to the defaults.

        What is below `config_under` comes to the top.
        """
        kept = {key: config[key] for key in _OF_ALL if key in config}
        return {**self.defaults, **self.renamed(config), **self.renamed(self.sized(config)), **kept}

    def known(self, config: Config) -> dict[str, Any]:
        """Copy a config without the keys that no bundle may have."""
        part = {k: v for k, v in self.sized(config).items() if k in COMMON_KEYS | self.config_keys}
        if not self.config_under:
            return part
        top = {key: value for key, value in config.items() if key in COMMON_KEYS}
        return {**top, self.config_under: part}

    def overridden(self, config: Config) -> dict[str, Any]:
        """Return the keys of a model's own config.json that change when it is loaded.

        A checkpoint of the bare model, which names another class, has no head.
        """
        named = config.get("architectures") or [self.architecture]
        if not self.heads or named == [self.architecture]:
            return {}
        return {"architectures": [self.architecture], "id2label": {}, "label2id": {}}

    def count(self, config: Config) -> int:
        """Count the blocks."""
        return whole(self.complete(config), self.depth, most=MAX_DEPTH)

    def sizes(self, config: Config) -> dict[str, int]:
        """Return the size of every dimension.

        Raises:
            KeyError: The config lacks a key.
            ValueError: A size is out of range.
        """
        sizes = dict(self.dims(self.complete(config)))
        for name, value in sizes.items():
            if not 1 <= value <= MAX_SIZE:
                raise ValueError(f"size {name} must be from 1 to {MAX_SIZE}, not {value}")
        return sizes

    def refusals(self, config: Config) -> list[str]:
        """List the reasons why a model with this config is not supported."""
        full = self.complete(config)
        return [f"{key}: {why}" for key, why in self.refused.items() if full.get(key)]

    def block_tensors(self, config: Config) -> dict[str, Shape]:
        """Return the shapes of a block's tensors by name. Names are relative to the block."""
        return self._tensors(self.block, config, self.transposed)

    def outer_tensors(self, config: Config) -> dict[str, Shape]:
        """Return the shapes of all tensors outside the blocks, by name in a checkpoint."""
        return self._tensors(self.outer, config)

    def head_tensors(self, config: Config) -> dict[str, tuple[str, Shape]]:
        """Return the model's names and the shapes of the tensors of `heads`, by name in bundles."""
        stored, found = self.outer_tensors(config), dict[str, tuple[str, Shape]]()
        for wire, path in self.heads.items():
            for kind in ("weight", "bias"):
                if shape := stored.get(self.stored_name(f"{path}.{kind}")):
                    found[f"{wire}.{kind}"] = (f"{path}.{kind}", shape)
        return found

    def tensors(self, config: Config) -> dict[str, Shape]:
        """Return the shapes of all tensors of a checkpoint, by name."""
        tensors, block = self.outer_tensors(config), self.block_tensors(config)
        for index in range(self.count(config)):
            tensors |= {self.tensor_name(index, name): shape for name, shape in block.items()}
        return tensors

    def linear_sizes(self, config: Config) -> dict[str, tuple[int, int]]:
        """Return the input and output sizes of the weights that LoRA may adapt, by name."""
        sizes = self.sizes(config)
        return {
            f"{module.name}.weight": (sizes[module.in_], sizes[module.out])
            for module in self.block
            if isinstance(module, Linear)
        }

    @property
    def targets(self) -> tuple[str, ...]:
        """The modules of a block that LoRA may adapt: all linear ones."""
        return tuple(module.name for module in self.block if isinstance(module, Linear))

    def healed_by(self, config: Config) -> str | None:
        """Return the projection that healing changes; None: the model cannot be healed."""
        full = self.complete(config)
        hindered = any(full.get(key) == value for key, value in self.unhealable.items())
        return None if hindered else self.heal

    def tensor_name(self, index: int, name: str) -> str:
        """Return the name of a block's tensor in a checkpoint."""
        return f"{self.blocks}.{index}.{name}"

    def current_name(self, stored: str) -> str:
        """Return the name that an older checkpoint's tensor has today, without its prefix."""
        for old, new in self.older_names:
            stored = stored.replace(old, new)
        return stored

    def stored_name(self, attribute: str) -> str:
        """Return the name in a checkpoint of a tensor with this attribute path."""
        path, _, kind = attribute.rpartition(".")
        for module in self.outer:
            if isinstance(module, Linear) and module.stored and module.name == path:
                return f"{module.stored}.{kind}"
        return attribute

    def block_of(self, tensor_name: str) -> tuple[int, str] | None:
        """Split a tensor's name into block and name in the block; None: it is in no block."""
        index, _, name = tensor_name.removeprefix(f"{self.blocks}.").partition(".")
        if not (index.isascii() and index.isdecimal() and name):
            return None
        # refuse other spellings of the same block, such as 007
        split = int(index[:9]), name
        return split if self.tensor_name(*split) == tensor_name else None

    def resized(self, config: Config, keep: Sequence[int]) -> dict[str, Any]:
        """Copy a config for a model of only the blocks `keep`. The blocks behave as before.

        Raises:
            KeyError: The config lacks the number of blocks.
            ValueError: `keep` is not in ascending order or out of range, or a list has the wrong
                length.
        """
        full, small = self.complete(config), self.renamed(self.sized(config))
        depth = self.count(config)
        if list(keep) != sorted(set(keep) & set(range(depth))) or not keep:
            raise ValueError(
                f"blocks to keep must be ascending numbers from 0 to {depth - 1}, not {keep}"
            )
        small[self.depth] = len(keep)
        for key, assumed in self.per_block.items():
            small[key] = _kept(key, full.get(key) or assumed(full), keep, depth)
        for key in self.boundaries:
            small[key] = sum(index < full[key] for index in keep)
        return {**config, self.config_under: small} if self.config_under else small

    def _tensors(
        self, modules: tuple[Module, ...], config: Config, transposed: bool = False
    ) -> dict[str, Shape]:
        full, sizes = self.complete(config), self.sizes(config)
        tensors: dict[str, Shape] = {}
        for module in modules:
            if holds(module.when, full):
                tensors |= module.tensors(full, sizes, transposed)
        return tensors


def label_count(config: Config) -> int:
    """Count the classes of a model; transformers assumes two where a config names none."""
    labels = config.get("id2label")
    return 2 if labels is None else len(labels)


def _kept(key: str, entries: Sequence[Any], keep: Sequence[int], depth: int) -> list[Any]:
    if len(entries) != depth:
        raise ValueError(f"{key} has {len(entries)} entries for {depth} blocks")
    return [entries[index] for index in keep]
