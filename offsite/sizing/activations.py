"""Bytes that a block keeps of its forward pass until the backward pass, for each position.

The numbers count the tensors that autograd keeps for each kind of layer, as transformers computes
it. The tests compare them with what autograd keeps of a model of each family.
"""

from collections.abc import Sequence

from offsite.sizing.setting import Machine, Training
from offsite.sizing.shape import Shape

_FLOAT = 4
_STATISTICS = 8
"""Bytes of the mean and the deviation that a norm keeps of a position."""
_COMPOSED = {"gelu_new": 4, "gelu_fast": 6, "quick_gelu": 2}
"""Tensors that an activation function keeps which is composed of several operations; others: 1."""


def kept(shape: Shape, machine: Machine, training: Training, *, trained: bool) -> int:
    """Count the bytes that a block keeps, for each position.

    Args:
        trained: Whether the block is trained, and not only passed on the way back.
    """
    number = machine.multiplied
    found = shape.norms * (_FLOAT * shape.width + _STATISTICS)
    found += _of_attention(shape, number, training.length)
    found += number * shape.inner * (_COMPOSED.get(shape.activation, 1) + 2 * shape.gated)
    if not trained:
        return found
    return found + (_whole(shape, machine) if training.whole else _lora(shape, machine, training))


def _of_attention(shape: Shape, number: int, length: int) -> int:
    """Count the bytes of queries, keys, values and output, and of weights that are kept."""
    queries, eager = shape.queries, shape.row.attention == "eager"
    # with a mask, keys and values are repeated for each query
    masked = shape.window is not None and shape.window < length
    keys = queries if eager or masked else shape.keys
    found = number * 2 * (queries + keys)
    if shape.turned:
        found += number * 2 * shape.width
    if shape.head_norms:
        found += _FLOAT * (queries + shape.keys)
    if eager:
        return found + (_FLOAT + number) * shape.heads * length
    return found + _FLOAT * shape.heads + (number * length if masked else 0)


def _lora(shape: Shape, machine: Machine, training: Training) -> int:
    """Count the bytes of what LoRA reads, and of what its first factor makes of it."""
    adapted = shape.adapted(training.targets)
    read = _read(shape, machine, adapted)
    return machine.multiplied * (read + training.rank * len(adapted))


def _read(shape: Shape, machine: Machine, linears: Sequence[tuple[int, int]]) -> int:
    """Count the numbers that trained linear modules read, where they are not kept anyway.

    In bfloat16 each module converts what it reads; in float32 modules share what a norm puts out.
    """
    if machine.bfloat16:
        return sum(into for into, _ in linears)
    found = shape.width * shape.normed
    return found + (0 if shape.activation == "relu" else shape.inner)


def _whole(shape: Shape, machine: Machine) -> int:
    """Count the bytes of what trained modules read."""
    number = machine.multiplied
    found = number * _read(shape, machine, list(shape.linears.values()))
    found += number * shape.scales * shape.width
    if machine.bfloat16 and shape.row.attention != "eager":  # the attention's output is kept anyway
        found -= number * shape.queries
    if machine.bfloat16 and shape.activation == "relu":  # so is what it puts out
        found -= number * shape.inner
    if shape.head_norms:
        found += number * (shape.queries + shape.keys)
    return found + (0 if shape.centred else _FLOAT * shape.norms * shape.width)
