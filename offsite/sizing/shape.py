"""The sizes of a model, from its config.json and the row of its family. No tensor is read."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from offsite.errors import ModelError
from offsite.families import Family, Linear, Norm, Targets, family_of
from offsite.families.modules import Parameter, holds, whole

_CONTEXT = 2048
"""Tokens of an example where the config names no limit, as `modality.text` has it."""
_ACTIVATIONS = {"gpt2": "gelu_new", "phi": "gelu_new", "clip": "quick_gelu"}
"""The default in transformers, where it is one that keeps several tensors."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A model as its blocks, of `depth` equal ones, and what is outside of them."""

    row: Family
    depth: int
    width: int
    """D: features of a hidden state."""
    heads: int
    queries: int
    """Features of all queries together."""
    keys: int
    """Features of all keys together, and of all values."""
    inner: int
    """F: features inside the MLP."""
    gated: bool
    """Whether a gate multiplies the MLP's inner features."""
    activation: str
    """Name of the MLP's activation function."""
    norms: int
    """Norms of a block that read a hidden state; those that read the same one count once."""
    normed: int
    """Hidden states that linear modules read after a norm: one for each half of a block, or one."""
    centred: bool
    """Whether they subtract the mean (LayerNorm, not RMSNorm)."""
    head_norms: bool
    """Whether queries and keys are normalized, too."""
    turned: bool
    """Whether queries and keys are rotated out of a fused projection, which makes copies."""
    scales: int
    """Vectors by which a block multiplies what its halves add (layer scale)."""
    window: int | None
    """Tokens that a position attends to in the blocks that slide; None: all before it."""
    linears: Mapping[str, tuple[int, int]]
    """Input and output size of each linear module of a block."""
    block: int
    """Numbers in a block's tensors."""
    outer: int
    """Numbers in the tensors outside the blocks; a tied head counts once."""
    largest: int
    """Numbers of the largest tensor."""
    head: int
    """Numbers that each prediction multiplies: the size of the head's weight."""
    outputs: int
    """Tokens of the vocabulary, or classes."""
    context: int | None
    """Most tokens of an example; None: the model reads images."""
    patches: int | None
    """Positions of an image; None: the model reads text."""
    number: int = 2
    """Bytes of a number on disk."""

    @classmethod
    def of(cls, config: Mapping[str, Any], number: int = 2, pixels: int | None = None) -> "Shape":
        """Read the sizes from a config.

        Args:
            number: Bytes of a number on disk.
            pixels: Side of an image after its processor; None: that of the config.

        Raises:
            UnknownFamilyError: The architecture has no row in the family table.
            ModelError: A key is missing or wrong.
        """
        row = family_of(config)
        try:
            return _read(row, config, number, pixels)
        except (KeyError, ValueError, TypeError) as error:
            raise ModelError(
                f"config.json of this {row.model_type} model has no size, or a wrong one: {error}"
            ) from error

    @property
    def numbers(self) -> int:
        """Count the numbers of the whole model."""
        return self.depth * self.block + self.outer

    @property
    def size(self) -> int:
        """Bytes of its weights on disk."""
        return self.numbers * self.number

    def adapted(self, targets: Targets) -> list[tuple[int, int]]:
        """List the sizes of the linear modules of a block that LoRA with these targets adapts."""
        names = self.row.targeted(targets)
        return [self.linears[name] for name in names]

    def resized(self, depth: int) -> "Shape":
        """Return the shape with another number of blocks."""
        return replace(self, depth=depth)

    def positions(self, length: int) -> int:
        """Count the positions of an example of at most `length` tokens; of an image, all of it."""
        if self.patches is not None:
            return self.patches
        return min(length, self.context or length)


def _read(row: Family, config: Mapping[str, Any], number: int, pixels: int | None) -> Shape:
    full, sizes = row.complete(config), row.sizes(config)
    linears = {m.name: (sizes[m.in_], sizes[m.out]) for m in row.block if isinstance(m, Linear)}
    text, width = row.modality == "text", sizes["D"]
    outputs = sizes["V"] if text else sizes.get("L", 0)
    return Shape(
        row=row,
        depth=row.count(config),
        width=width,
        heads=whole(full, row.aliases.get("num_attention_heads", "num_attention_heads")),
        queries=sizes.get("Q", width),
        keys=sizes.get("KV", width),
        inner=sizes["F"],
        gated=sum(out == sizes["F"] for _, out in linears.values()) > 1,
        activation=_activation(row, full),
        norms=_norms(row, full),
        normed=min(2, len(_norms_of(row, full, "D"))),
        centred=any(each.bias for each in _norms_of(row, full, "D")),
        head_norms=bool(_norms_of(row, full, "H")),
        turned=row.model_type == "gpt_neox",
        scales=sum(isinstance(each, Parameter) and each.shape == ("D",) for each in row.block),
        window=full.get("sliding_window") if full.get("use_sliding_window", True) else None,
        linears=linears,
        block=_count(row.block_tensors(config)),
        outer=_count(row.outer_tensors(config)),
        largest=max(map(prod, row.tensors(config).values())),
        head=(sizes.get("E", width) if text else sizes.get("H", width)) * outputs,
        outputs=outputs,
        context=_context(full) if text else None,
        patches=None if text else _patches(row, full, sizes, pixels),
        number=number,
    )


def _norms_of(row: Family, config: Mapping[str, Any], size: str) -> list[Norm]:
    norms = (each for each in row.block if isinstance(each, Norm) and each.size == size)
    return [each for each in norms if holds(each.when, config)]


def _norms(row: Family, config: Mapping[str, Any]) -> int:
    """Count the norms. GPT-NeoX's two read the same hidden state, unless the config says not."""
    found = len(_norms_of(row, config, "D"))
    parallel = row.model_type == "gpt_neox" and config.get("use_parallel_residual", True)
    return 1 if parallel else found


def _count(tensors: Mapping[str, tuple[int, ...]]) -> int:
    return sum(map(prod, tensors.values()))


def _activation(row: Family, config: Mapping[str, Any]) -> str:
    named = (config.get(key) for key in ("activation_function", "hidden_activation", "hidden_act"))
    return next((str(each) for each in named if each), _ACTIVATIONS.get(row.model_type, "gelu"))


def _context(config: Mapping[str, Any]) -> int:
    found = config.get("max_position_embeddings") or config.get("n_positions") or _CONTEXT
    return int(found)


def _patches(
    row: Family, config: Mapping[str, Any], sizes: Mapping[str, int], pixels: int | None
) -> int:
    """Count the positions of an image: its patches, and what stands before them."""
    if pixels is None or row.resolution != "any":
        return (
            sizes["P"] - 1 + row.prefix_tokens(config) if row.prefix_tokens(config) else sizes["P"]
        )
    return (pixels // sizes["K"]) ** 2 + row.prefix_tokens(config)
