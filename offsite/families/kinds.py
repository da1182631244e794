"""Kinds of values in the JSON files of a model, each with a description and a test."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from reprlib import repr as short
from typing import Any

from offsite.families.modules import MAX_SIZE

Test = Callable[[Any], bool]

ACTIVATIONS = frozenset(
    {"gelu", "gelu_10", "gelu_accurate", "gelu_fast", "gelu_new", "gelu_python"}
    | {"gelu_python_tanh", "gelu_pytorch_tanh", "hardswish", "leaky_relu", "linear", "mish"}
    | {"quick_gelu", "relu", "relu2", "relu6", "sigmoid", "silu", "swish", "tanh"}
)
"""Names in transformers, without those that have weights."""
DTYPES = frozenset({"float16", "bfloat16", "float32", "float64"})
LAYER_TYPES = frozenset({"full_attention", "sliding_attention"})
MAX_TEXT, MAX_LIST, MAX_PATH = 4096, 4096, 100


@dataclass(frozen=True)
class Kind:
    """A set of allowed values: a description and a test."""

    meaning: str
    """Completes the sentence "must be …"."""
    test: Test

    def or_null(self) -> "Kind":
        """Also allow null."""
        return Kind(f"{self.meaning}, or null", lambda v: v is None or self.test(v))

    def problems(self, path: str, value: Any) -> list[str]:
        """List the problem of a value, if it has one."""
        return [] if self.test(value) else [f"{path}: must be {self.meaning}, not {short(value)}"]


def problems(values: Mapping[Any, Any], kinds: Mapping[str, Kind], under: str = "") -> list[str]:
    """List the keys that have no kind, and the values that do not match theirs."""
    found: list[str] = []
    for key, value in values.items():
        path = f"{under}{key if str(key).isidentifier() else repr(key)}"[:MAX_PATH]
        found += kinds[key].problems(path, value) if key in kinds else [f"{path}: is not allowed"]
    return found


def among(choices: Iterable[Any]) -> Kind:
    """Allow only the given values."""
    known = sorted(choices)
    # compare types too: 1 == True
    return Kind(
        f"one of {', '.join(map(str, known))}",
        lambda v: any(v == one and type(v) is type(one) for one in known),
    )


def ints(low: int, high: int) -> Kind:
    """Allow whole numbers in a range."""
    return Kind(
        f"a whole number from {low} to {high}", lambda v: type(v) is int and low <= v <= high
    )


def numbers(low: float, high: float) -> Kind:
    """Allow finite numbers in a range."""
    return Kind(
        f"a number from {low:g} to {high:g}",
        lambda v: type(v) in (int, float) and low <= v <= high,
    )


def lists(kind: Kind) -> Kind:
    """Allow lists of bounded length, whose items are of a kind."""
    return Kind(
        f"a list in which each item is {kind.meaning}",
        lambda v: isinstance(v, list) and len(v) <= MAX_LIST and all(map(kind.test, v)),
    )


def either(first: Kind, second: Kind) -> Kind:
    """Allow values of either kind."""
    return Kind(f"{first.meaning}, or {second.meaning}", lambda v: first.test(v) or second.test(v))


def _labels(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and len(value) <= MAX_LIST
        and all(isinstance(part, str | int) for item in value.items() for part in item)
    )


BOOL = Kind("true or false", lambda v: type(v) is bool)
YES = Kind("true", lambda v: v is True)
NO = Kind("false", lambda v: v is False)
TEXT = Kind("a short text", lambda v: isinstance(v, str) and len(v) <= MAX_TEXT)
SIZE = ints(1, MAX_SIZE)
COUNT = ints(0, MAX_SIZE)
NUMBER = numbers(-1e30, 1e30)
POSITIVE = numbers(1e-30, 1e30)
SHARE = numbers(0, 1)
# some checkpoints use -1 for no token
TOKEN = ints(-1, MAX_SIZE - 1)
TOKENS = either(TOKEN, lists(TOKEN)).or_null()
ACTIVATION = among(ACTIVATIONS)
LABEL = Kind(
    "a text of 1 to 256 printable characters",
    lambda v: isinstance(v, str) and 1 <= len(v) <= 256 and v.isprintable(),
)
RGB = Kind("3, for red, green and blue", lambda v: type(v) is int and v == 3)
DTYPE = among(DTYPES).or_null()
LABELS = Kind("a table of labels", _labels).or_null()
