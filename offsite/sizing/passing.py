"""What a forward pass needs, without training: scoring a model, and inspecting an emulator."""

from math import prod

from offsite.sizing.activations import kept
from offsite.sizing.phase import Phase
from offsite.sizing.setting import Machine, Training
from offsite.sizing.shape import Shape

PROCESS = 960 << 20
"""Bytes of a process that has imported torch, transformers and peft, and opened a tokenizer."""
LOGITS = 1 << 26
"""Logits that are computed at once, as `modality.text.loss` has it."""
_RESIDENT = 2
"""Blocks in memory at once where they are read from the disk: what runs, and what is read."""
_SCORED, _SCORED_LENGTH = 2048, 512
"""Positions of a batch that is scored, and of an example of plain text."""
_INSPECTED, _INSPECTED_LENGTH = 512, 128
"""Positions of one kind of public text, and of an example."""
_COPIES = 16
"""Bytes of copies of each number of the matrix that is inspected."""


def score(
    name: str, shape: Shape, machine: Machine, positions: int, *, held: int | None = None
) -> Phase:
    """Compute what scoring a model needs.

    Args:
        positions: Of all data that it is scored on.
        held: Bytes of its weights in memory; None: its blocks are read one after the other.
    """
    length = shape.positions(_SCORED_LENGTH)
    batch = max(length, min(_SCORED, positions or _SCORED))
    memory = {
        "process": PROCESS,
        "weights": streamed(shape, machine) if held is None else held,
        "activations": passing(shape, machine, batch),
        "loss": loss(shape, machine, batch),
    }
    flops = forward_flops(shape, positions, length)
    return on_machine(machine, Phase(name=name, memory=memory, flops=flops))


def inspect(shape: Shape, machine: Machine, held: int) -> Phase:
    """Compute what the inspection of an emulator needs.

    Args:
        held: Bytes of its weights in memory.
    """
    length = shape.positions(_INSPECTED_LENGTH)
    batch = max(_INSPECTED // length, 2) * length
    watched = Training(batch=1, length=length, steps=1, places=0)
    # the inputs of linear layers are kept as well
    each = kept(shape, machine, watched, trained=False) + 8 * shape.width
    gradients = batch * shape.depth * each + loss(shape, machine, batch)
    memory = {
        "process": PROCESS,
        "weights": held,
        "activations": max(gradients, _COPIES * shape.largest),
    }
    flops = 3 * 3 * forward_flops(shape, batch, length)
    return on_machine(machine, Phase(name="inspect", memory=memory, flops=flops))


def loss(shape: Shape, machine: Machine, positions: int) -> int:
    """Compute the bytes of the logits of a batch, and of what is made of them."""
    if shape.patches is not None:
        return 0
    return min(positions * shape.outputs, LOGITS) * (8 + machine.multiplied)


def passing(shape: Shape, machine: Machine, positions: int) -> int:
    """Compute the bytes of one block's activations where no gradient is taken."""
    inner = machine.multiplied * (2 + shape.gated) * shape.inner
    return positions * (4 * 4 * shape.width + inner)


def streamed(shape: Shape, machine: Machine) -> int:
    """Compute the bytes of the tensors outside the blocks, and of the blocks in memory at once."""
    number = shape.number if machine.gpu else 4
    return number * (shape.outer + _RESIDENT * shape.block)


def on_machine(machine: Machine, phase: Phase) -> Phase:
    """Move what a phase needs to the GPU, if there is one."""
    if not machine.gpu:
        return phase
    host = {name: phase.memory[name] for name in ("process", "weights")}
    device = {name: size for name, size in phase.memory.items() if name != "process"}
    return Phase(name=phase.name, memory=host, device=device, flops=phase.flops, disk=phase.disk)


def forward_flops(shape: Shape, positions: int, length: int) -> float:
    """Count the operations of a forward pass over positions, with the head."""
    linear = sum(map(prod, shape.linears.values()))
    per_block = 2 * linear + 2 * shape.queries * length
    return float(positions) * (shape.depth * per_block + 2 * shape.head)
