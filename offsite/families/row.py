"""A row of the family table: one model architecture, and what follows from a config of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from offsite.families.modules import MAX_SIZE, Config, Linear, Module, Shape, Sizes, holds, whole

MAX_DEPTH = 1024


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
    """What its inputs are: a key of `offsite.modality.MODALITIES`."""
    dims: Callable[[Config], Sizes]
    """From a complete config to the size of each dimension named in `block` and `outer`."""
    block: tuple[Module, ...]
    """The modules of one block that hold tensors, by their path in the block."""
    outer: tuple[Module, ...]
    """All the other modules that hold tensors: embeddings, final norm, head."""
    config_keys: frozenset[str]
    """What config.json may hold, beyond what every family may (`COMMON_KEYS`)."""
    defaults: Config
    """What transformers takes for a missing key, for the keys that this row reads."""
    depth: str = "num_hidden_layers"
    """The config key that counts the blocks."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Other names under which transformers takes a config key."""
    per_block: Mapping[str, Callable[[Config], Sequence[Any]]] = field(default_factory=dict)
    """Config keys that hold a list with one entry per block, and the list if it is missing."""
    boundaries: tuple[str, ...] = ()
    """Config keys that hold a number of lowest blocks, which changes as blocks are dropped."""
    attention: str = "sdpa"
    """The attention implementation of transformers to ask for; never left to a config."""
    rope_per_type: bool = False
    """`rope_parameters` holds one entry for each of the layer types."""
    transposed: bool = False
    """The block's weights are stored (in, out), as GPT-2's Conv1D does, not (out, in)."""
    heal: str | None = None
    """The block's last projection before the residual sum, into which healing folds its map."""
    heads: Mapping[str, str] = field(default_factory=dict)
    """Modules outside the blocks that an adapter may train: the name on the wire, such as `head`,
    and the path. Language models have none."""
    unhealable: Config = field(default_factory=dict)
    """Config values with which there is no such projection after all (OPT's post-norm)."""
    beyond: frozenset[str] = frozenset()
    """Special tokens of its tokenizers that its models may lack, such as those for images."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Config keys that must not be true, and why."""
    buffers: frozenset[str] = frozenset()
    """Names, in a block, of what older checkpoints store although it is computed."""

    def renamed(self, config: Config) -> dict[str, Any]:
        """Copy a config with every alias replaced by the key that it stands for."""
        return {self.aliases.get(key, key): value for key, value in config.items()}

    def complete(self, config: Config) -> dict[str, Any]:
        """Copy a config without aliases and with the defaults of this row."""
        return {**self.defaults, **self.renamed(config)}

    def count(self, config: Config) -> int:
        """Count the blocks."""
        return whole(self.complete(config), self.depth, most=MAX_DEPTH)

    def sizes(self, config: Config) -> dict[str, int]:
        """Give the size of every dimension.

        Raises:
            KeyError: the config lacks one.
            ValueError: one is absurd.
        """
        sizes = dict(self.dims(self.complete(config)))
        for name, value in sizes.items():
            if not 1 <= value <= MAX_SIZE:
                raise ValueError(f"size {name} must be from 1 to {MAX_SIZE}, not {value}")
        return sizes

    def refusals(self, config: Config) -> list[str]:
        """List why a model with this config cannot be used, although its family is known."""
        full = self.complete(config)
        return [f"{key}: {why}" for key, why in self.refused.items() if full.get(key)]

    def block_tensors(self, config: Config) -> dict[str, Shape]:
        """Name, relative to the block, and shape of every tensor of a block."""
        return self._tensors(self.block, config, self.transposed)

    def outer_tensors(self, config: Config) -> dict[str, Shape]:
        """Name and shape of every tensor outside the blocks, as a checkpoint holds them."""
        return self._tensors(self.outer, config)

    def head_tensors(self, config: Config) -> dict[str, tuple[str, Shape]]:
        """Name in the model and shape of the tensors of `heads`, by the name on the wire."""
        stored, found = self.outer_tensors(config), dict[str, tuple[str, Shape]]()
        for wire, path in self.heads.items():
            for kind in ("weight", "bias"):
                if shape := stored.get(self.stored_name(f"{path}.{kind}")):
                    found[f"{wire}.{kind}"] = (f"{path}.{kind}", shape)
        return found

    def tensors(self, config: Config) -> dict[str, Shape]:
        """Name and shape of every tensor of a checkpoint of the whole model."""
        tensors, block = self.outer_tensors(config), self.block_tensors(config)
        for index in range(self.count(config)):
            tensors |= {self.tensor_name(index, name): shape for name, shape in block.items()}
        return tensors

    def linear_sizes(self, config: Config) -> dict[str, tuple[int, int]]:
        """Input and output size of the block's weights that a low-rank change may touch."""
        sizes = self.sizes(config)
        return {
            f"{module.name}.weight": (sizes[module.in_], sizes[module.out])
            for module in self.block
            if isinstance(module, Linear)
        }

    @property
    def targets(self) -> tuple[str, ...]:
        """The block's modules that a low-rank change may touch: all that are linear."""
        return tuple(module.name for module in self.block if isinstance(module, Linear))

    def healed_by(self, config: Config) -> str | None:
        """Name the block's projection into which healing folds its map, if there is one."""
        full = self.complete(config)
        hindered = any(full.get(key) == value for key, value in self.unhealable.items())
        return None if hindered else self.heal

    def tensor_name(self, index: int, name: str) -> str:
        """Name a block's tensor in the checkpoint of the whole model."""
        return f"{self.blocks}.{index}.{name}"

    def stored_name(self, attribute: str) -> str:
        """Name, as a checkpoint does, a tensor that the model knows by its attribute path."""
        path, _, kind = attribute.rpartition(".")
        for module in self.outer:
            if isinstance(module, Linear) and module.stored and module.name == path:
                return f"{module.stored}.{kind}"
        return attribute

    def block_of(self, tensor_name: str) -> tuple[int, str] | None:
        """Split a tensor's name into its block and its name there; None: it is outside."""
        index, _, name = tensor_name.removeprefix(f"{self.blocks}.").partition(".")
        if not (index.isascii() and index.isdecimal() and name):
            return None
        # A second spelling of the same block, such as 007, must not pass for it.
        split = int(index[:9]), name
        return split if self.tensor_name(*split) == tensor_name else None

    def resized(self, config: Config, keep: Sequence[int]) -> dict[str, Any]:
        """Copy a config for a model of the blocks `keep` only, each behaving as it did.

        Raises:
            KeyError: the config does not count its blocks.
            ValueError: `keep` does not rise within the blocks, or a list does not fit them.
        """
        full, small = self.complete(config), self.renamed(config)
        depth = self.count(config)
        if list(keep) != sorted(set(keep) & set(range(depth))) or not keep:
            raise ValueError(f"blocks to keep must rise within 0 to {depth - 1}, not {keep}")
        small[self.depth] = len(keep)
        for key, assumed in self.per_block.items():
            small[key] = _kept(key, full.get(key) or assumed(full), keep, depth)
        for key in self.boundaries:
            small[key] = sum(index < full[key] for index in keep)
        return small

    def _tensors(
        self, modules: tuple[Module, ...], config: Config, transposed: bool = False
    ) -> dict[str, Shape]:
        full, sizes = self.complete(config), self.sizes(config)
        tensors: dict[str, Shape] = {}
        for module in modules:
            if holds(module.when, full):
                tensors |= module.tensors(full, sizes, transposed)
        return tensors


def _kept(key: str, entries: Sequence[Any], keep: Sequence[int], depth: int) -> list[Any]:
    if len(entries) != depth:
        raise ValueError(f"{key} has {len(entries)} entries for {depth} blocks")
    return [entries[index] for index in keep]
