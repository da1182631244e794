"""Memory and operations of a training: weights, what is trained, activations, and the loss."""

from collections.abc import Mapping
from math import prod

from offsite.sizing.activations import kept
from offsite.sizing.passing import PROCESS, loss
from offsite.sizing.phase import Phase
from offsite.sizing.setting import Machine, Quantize, Training
from offsite.sizing.shape import Shape

_TRAINED = 16
"""Bytes of a trained number: itself, its gradient, and the two moments of AdamW, in float32."""
_BEST = 4
"""Bytes of a number of the best adapter so far."""
_BEFORE = 4
"""Bytes of a number of a tensor that is trained as a whole, as it was before."""
_GAPS = 1.2
"""Ratio of the memory of activations to what autograd keeps: gradients on their way back, and gaps
that the allocator leaves."""
_PACKED: Mapping[Quantize, float] = {"Int8": 1.0, "NF4": 0.5 + 1 / 64}
"""Bytes of a quantized number, with the scale of its group."""


def train(name: str, shape: Shape, machine: Machine, training: Training, *, held: int) -> Phase:
    """Compute what a training needs.

    Args:
        held: Bytes of the frozen weights in memory.
    """
    parts = {
        "weights": held,
        "trained": trained_bytes(shape, machine, training),
        "activations": _activations(shape, machine, training),
        "loss": loss(shape, machine, training.positions(machine.workers)),
    }
    # weights are read on the host, and copied to the GPU
    host = {"process": PROCESS, **({"weights": shape.size} if machine.gpu else parts)}
    return Phase(
        name=name,
        memory=host,
        device=parts if machine.gpu else {},
        flops=_flops(shape, training),
        disk=trained_numbers(shape, training) * _TRAINED,
    )


def trained_bytes(shape: Shape, machine: Machine, training: Training) -> int:
    """Compute the bytes of what is trained: values, gradients, moments, and copies of them."""
    each = _TRAINED + _BEST
    if training.whole:  # what is multiplied is converted for each step
        each += _BEFORE + (machine.multiplied if machine.bfloat16 else 0)
    numbers = trained_numbers(shape, training)
    return each * (numbers // machine.workers if machine.sharded else numbers)


def trained_numbers(shape: Shape, training: Training) -> int:
    """Count the numbers that are trained."""
    per_block = shape.block
    if not training.whole:
        per_block = sum(training.rank * sum(sizes) for sizes in shape.adapted(training.targets))
    return training.places * per_block + training.extra


def base_weights(shape: Shape, machine: Machine, training: Training) -> int:
    """Compute the bytes of an emulator's frozen weights, of one worker.

    Linear layers, the token table and the head are held as they are stored, or in the dtype that
    they are multiplied in if that is smaller.
    """
    number = shape.number if machine.gpu else min(shape.number, machine.multiplied)
    linear = sum(map(prod, shape.linears.values()))
    packed = _PACKED.get(training.quantize, float(number))
    block = linear * packed + 4 * (shape.block - linear)
    frozen = shape.depth - (training.places if training.whole else 0)
    blocks = frozen * block
    if machine.sharded:  # a shard of all, and two blocks that are gathered meanwhile
        blocks = blocks / machine.workers + 2 * block
    return round(blocks + shape.outer * number)


def loaded_weights(shape: Shape, machine: Machine) -> int:
    """Compute the bytes of a model that is loaded whole: in float32 on a CPU."""
    return shape.numbers * (shape.number if machine.gpu else 4)


def _activations(shape: Shape, machine: Machine, training: Training) -> int:
    """Compute the bytes that are kept for the backward pass, and of the largest step of it."""
    positions = training.positions(machine.workers)
    above = shape.depth - training.lowest
    trained = kept(shape, machine, training, trained=True)
    passed = kept(shape, machine, training, trained=False)
    if training.checkpointing:
        each = above * 4 * shape.width + max(trained, passed)
    else:
        each = training.places * trained + (above - training.places) * passed
    return round(_GAPS * positions * each)


def _flops(shape: Shape, training: Training) -> float:
    """Count the operations: forward, backward to the lowest trained block, and recomputation."""
    positions = float(training.batch * training.length * training.steps)
    linear, above = sum(map(prod, shape.linears.values())), shape.depth - training.lowest
    per_block = 2 * linear + 2 * shape.queries * training.length
    passes = shape.depth + above * (2 if training.checkpointing else 1)
    found = passes * per_block + 4 * shape.head
    found += 6 * trained_numbers(shape, training) if not training.whole else 0
    found += 2 * training.places * linear if training.whole else 0
    return positions * found
