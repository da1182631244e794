"""What a row of the family table lists: modules that hold tensors, and conditions on a config."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from reprlib import repr as short
from typing import Any

MAX_SIZE = 2**24
"""More than any model has. A config that says more is wrong, or is to exhaust a reader's memory."""

Shape = tuple[int, ...]
Config = Mapping[str, Any]
Sizes = Mapping[str, int]
When = bool | str | Callable[[Config], bool]
"""Always, never, if this config key is true, or if this function of the config says so."""


def whole(config: Config, key: str, otherwise: int | None = None, most: int = MAX_SIZE) -> int:
    """Read a size from a config, where null or nothing means `otherwise` if there is one.

    Raises:
        KeyError: the key is missing and `otherwise` is None.
        ValueError: it is no whole number from 1 to `most`.
    """
    if config.get(key) is None and otherwise is not None:
        return otherwise
    value = config[key]
    # Not isinstance: True is an int too.
    if type(value) is not int or not 1 <= value <= most:
        raise ValueError(f"{key} must be a whole number from 1 to {most}, not {short(value)}")
    return value


def holds(when: When, config: Config) -> bool:
    """Decide a condition for one config."""
    if isinstance(when, str):
        return bool(config[when])
    return when(config) if callable(when) else when


@dataclass(frozen=True)
class Linear:
    """A weight matrix: `y = x W + b`, from `in_` to `out` features (names of dimensions)."""

    name: str
    in_: str
    out: str
    bias: When = False
    when: When = True
    tied: bool = False
    """Its weight is the token table's wherever the config says `tie_word_embeddings`."""
    stored: str = ""
    """Its name in a checkpoint, if that is not its attribute path."""

    def tensors(self, config: Config, sizes: Sizes, transposed: bool = False) -> dict[str, Shape]:
        """Name and shape of what it stores; `transposed` is (in, out), as Conv1D has it."""
        name, in_, out = self.stored or self.name, sizes[self.in_], sizes[self.out]
        tensors: dict[str, Shape] = {}
        if not (self.tied and config["tie_word_embeddings"]):
            tensors[f"{name}.weight"] = (in_, out) if transposed else (out, in_)
        if holds(self.bias, config):
            tensors[f"{name}.bias"] = (out,)
        return tensors


@dataclass(frozen=True)
class Norm:
    """A normalisation's scale, and its shift where it has one."""

    name: str
    size: str = "D"
    bias: bool = False
    when: When = True

    def tensors(self, config: Config, sizes: Sizes, transposed: bool = False) -> dict[str, Shape]:
        """Name and shape of what it stores."""
        kinds = ("weight", "bias") if self.bias else ("weight",)
        return {f"{self.name}.{kind}": (sizes[self.size],) for kind in kinds}


@dataclass(frozen=True)
class Table:
    """A lookup table of `rows` vectors of `size`: token or position embeddings."""

    name: str
    rows: str
    size: str = "D"
    when: When = True

    def tensors(self, config: Config, sizes: Sizes, transposed: bool = False) -> dict[str, Shape]:
        """Name and shape of what it stores."""
        return {f"{self.name}.weight": (sizes[self.rows], sizes[self.size])}


Module = Linear | Norm | Table
