"""The modules that a `Family` row lists, and conditions on a config."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from reprlib import repr as short
from typing import Any, Literal

MAX_SIZE = 2**24
"""Upper limit of any size in a config. Larger values are errors, or meant to exhaust memory."""

Targets = Literal["All", "MLP", "Attention"]
"""Which linear modules of a block LoRA adapts."""
Group = Literal["MLP", "Attention"]
"""Which half of a block a linear module belongs to."""
Shape = tuple[int, ...]
Config = Mapping[str, Any]
Sizes = Mapping[str, int]
When = bool | str | Callable[[Config], bool]
"""True, False, the name of a config key that must be true, or a function of the config."""


def whole(config: Config, key: str, otherwise: int | None = None, most: int = MAX_SIZE) -> int:
    """Read a size from a config.

    Args:
        otherwise: The size if the key is null or missing; None: it is required.

    Raises:
        KeyError: The key is missing, and `otherwise` is None.
        ValueError: It is not a whole number from 1 to `most`.
    """
    if config.get(key) is None and otherwise is not None:
        return otherwise
    value = config[key]
    # not isinstance: True is an int, too
    if type(value) is not int or not 1 <= value <= most:
        raise ValueError(f"{key} must be a whole number from 1 to {most}, not {short(value)}")
    return value


def holds(when: When, config: Config) -> bool:
    """Evaluate a condition on a config."""
    if isinstance(when, str):
        return bool(config[when])
    return when(config) if callable(when) else when


@dataclass(frozen=True)
class Linear:
    """A linear layer `y = x W + b`; `in_` and `out` are names of dimensions."""

    name: str
    in_: str
    out: str
    bias: When = False
    when: When = True
    tied: bool = False
    """Whether its weight is the token table if `tie_word_embeddings` is true."""
    stored: str = ""
    """Its name in a checkpoint, if it differs from the attribute path."""

    @property
    def group(self) -> Group:
        """The half of a block that it is in: only the MLP has the inner size F."""
        return "MLP" if "F" in (self.in_, self.out) else "Attention"

    def tensors(self, config: Config, sizes: Sizes, transposed: bool = False) -> dict[str, Shape]:
        """Return the shapes of its tensors by name. `transposed` stores (in, out), like Conv1D."""
        name, in_, out = self.stored or self.name, sizes[self.in_], sizes[self.out]
        tensors: dict[str, Shape] = {}
        if not (self.tied and config["tie_word_embeddings"]):
            tensors[f"{name}.weight"] = (in_, out) if transposed else (out, in_)
        if holds(self.bias, config):
            tensors[f"{name}.bias"] = (out,)
        return tensors


@dataclass(frozen=True)
class Norm:
    """The scale of a normalization, and its bias if it has one."""

    name: str
    size: str = "D"
    bias: bool = False
    when: When = True

    def tensors(self, config: Config, sizes: Sizes, transposed: bool = False) -> dict[str, Shape]:
        """Return the shapes of its tensors by name."""
        kinds = ("weight", "bias") if self.bias else ("weight",)
        return {f"{self.name}.{kind}": (sizes[self.size],) for kind in kinds}


@dataclass(frozen=True)
class Table:
    """An embedding table of shape (rows, size), for tokens or positions."""

    name: str
    rows: str
    size: str = "D"
    when: When = True

    def tensors(self, config: Config, sizes: Sizes, transposed: bool = False) -> dict[str, Shape]:
        """Return the shapes of its tensors by name."""
        return {f"{self.name}.weight": (sizes[self.rows], sizes[self.size])}


@dataclass(frozen=True)
class Convolution:
    """The projection of patches of K by K pixels: a convolution of (out, in, K, K)."""

    name: str
    in_: str
    out: str
    kernel: str = "K"
    bias: When = True
    when: When = True

    def tensors(self, config: Config, sizes: Sizes, transposed: bool = False) -> dict[str, Shape]:
        """Return the shapes of its tensors by name."""
        out, side = sizes[self.out], sizes[self.kernel]
        tensors: dict[str, Shape] = {f"{self.name}.weight": (out, sizes[self.in_], side, side)}
        if holds(self.bias, config):
            tensors[f"{self.name}.bias"] = (out,)
        return tensors


@dataclass(frozen=True)
class Parameter:
    """A tensor that is no module's weight, such as a class token."""

    name: str
    shape: tuple[int | str, ...]
    """Numbers, and names of dimensions."""
    when: When = True

    def tensors(self, config: Config, sizes: Sizes, transposed: bool = False) -> dict[str, Shape]:
        """Return its shape by its name."""
        return {self.name: tuple(s if isinstance(s, int) else sizes[s] for s in self.shape)}


Module = Linear | Norm | Table | Convolution | Parameter
