"""`Family`, a row of the family table, and what it derives from a config."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from offsite.families.columns import Columns
from offsite.families.keys import COMMON_KEYS, NESTED_KEYS
from offsite.families.modules import (
    MAX_SIZE,
    Config,
    Group,
    Linear,
    Module,
    Shape,
    Targets,
    holds,
    whole,
)

MAX_DEPTH = 1024
_OF_ALL = ("model_type", "architectures", "id2label")
"""The keys that count at the top of a config that is nested."""


@dataclass(frozen=True, kw_only=True)
class Family(Columns):
    """One model architecture, with what follows from its columns."""

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
        part = {key: value for key, value in self.sized(config).items() if key in self.sized_keys}
        if not self.config_under:
            return part
        top = {key: value for key, value in config.items() if key in COMMON_KEYS}
        return {**top, self.config_under: part}

    @property
    def sized_keys(self) -> frozenset[str]:
        """The keys that the part of a bundle's config with the sizes may have."""
        return self.config_keys | (NESTED_KEYS if self.config_under else COMMON_KEYS)

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

    def linear_sizes(self, config: Config, targets: Targets = "All") -> dict[str, tuple[int, int]]:
        """Return the input and output sizes of the weights that LoRA may adapt, by name."""
        sizes = self.sizes(config)
        return {
            f"{module.name}.weight": (sizes[module.in_], sizes[module.out])
            for module in self.block
            if isinstance(module, Linear) and targets in ("All", module.group)
        }

    @property
    def targets(self) -> tuple[str, ...]:
        """The modules of a block that LoRA may adapt: all linear ones."""
        return tuple(module.name for module in self.block if isinstance(module, Linear))

    def targeted(self, targets: Targets) -> tuple[str, ...]:
        """Return the modules of a block that LoRA with these targets adapts."""
        return tuple(t for t in self.targets if targets in ("All", self.group_of(t)))

    def group_of(self, module: str) -> Group | None:
        """Return the half of a block that a module is in; None: it is not linear, like a norm."""
        linear = (each for each in self.block if isinstance(each, Linear))
        return next((each.group for each in linear if each.name == module), None)

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
