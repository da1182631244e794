"""Memory and operations of a training: weights, what is trained, activations, and the loss."""

from math import prod

from offsite.sizing.activations import kept
from offsite.sizing.phase import Phase
from offsite.sizing.setting import Machine, Training
from offsite.sizing.shape import Shape

PROCESS = 700 << 20
"""Bytes of a process that has imported torch, transformers and peft, and opened a tokenizer."""
_TRAINED = 16
"""Bytes of a trained number: itself, its gradient, and the two moments of AdamW, in float32."""
_BEST = 4
"""Bytes of a number of the best adapter so far."""
_LOSS_LOGITS = 1 << 26
"""Logits that the loss computes at once, as `modality.text.loss` has it."""
_NF4 = 0.5 + 4 / 64
"""Bytes of a number in NF4: half a byte, and one scale for each 64 of them."""


def train(name: str, shape: Shape, machine: Machine, training: Training, *, held: int = 0) -> Phase:
    """Compute what a training needs.

    Args:
        held: Bytes of other models that stay in memory.
    """
    trained = trained_numbers(shape, training)
    parts = {
        "weights": weights(shape, machine, training) + held,
        "trained": trained * (_TRAINED + _BEST),
        "activations": _activations(shape, machine, training),
        "loss": _loss(shape, machine, training),
    }
    whole = shape.size if machine.gpu else 0  # read on the host, then copied
    return Phase(
        name=name,
        memory={"process": PROCESS, **({"weights": whole} if machine.gpu else parts)},
        device=parts if machine.gpu else {},
        flops=_flops(shape, training),
        disk=trained * _TRAINED,
    )


def trained_numbers(shape: Shape, training: Training) -> int:
    """Count the numbers that are trained."""
    per_block = shape.block
    if not training.whole:
        per_block = sum(training.rank * sum(sizes) for sizes in shape.adapted(training.targets))
    return training.places * per_block + training.extra


def weights(shape: Shape, machine: Machine, training: Training) -> int:
    """Compute the bytes of the weights in memory, of one worker."""
    number = shape.number if machine.gpu or machine.bfloat16 else 4
    linear = sum(map(prod, shape.linears.values()))
    per_number = {"None": float(number), "Int8": 1.0, "NF4": _NF4}[training.quantize]
    block = linear * per_number + (shape.block - linear) * number
    blocks = shape.depth * block
    if machine.sharded:  # a shard of all, and the two blocks that are gathered meanwhile
        blocks = blocks / machine.workers + 2 * block
    return round(blocks + shape.outer * number)


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
    return positions * each


def _loss(shape: Shape, machine: Machine, training: Training) -> int:
    """Compute the bytes of the logits of a part of the batch, and of their gradients."""
    if shape.patches is not None:
        return 0
    logits = min(training.positions(machine.workers) * shape.outputs, _LOSS_LOGITS)
    return logits * (4 + 4 + machine.multiplied)


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


def forward_flops(shape: Shape, positions: int, length: int) -> float:
    """Count the operations of a forward pass over positions, with the head."""
    linear = sum(map(prod, shape.linears.values()))
    return float(positions) * (
        shape.depth * (2 * linear + 2 * shape.queries * length) + 2 * shape.head
    )
