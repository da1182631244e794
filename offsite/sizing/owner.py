"""What the model owner's stages need where nothing is trained: healing, scoring, plugging in.

Blocks are read from the disk one after the other, so depth costs time and not memory.
"""

from math import prod

from offsite.sizing.phase import Phase
from offsite.sizing.setting import Machine
from offsite.sizing.shape import Shape
from offsite.sizing.training import PROCESS, forward_flops

_RESIDENT = 3
"""Blocks that are in memory at once: the one that runs, and those that are read and freed."""
_DOUBLE = 8
_CALIBRATION, _CALIBRATION_BATCH, _CALIBRATION_LENGTH = 32_768, 8, 256
"""Positions that healing fits to, examples of a batch, and positions of an example."""
_SCORED = 2048
"""Positions of a batch that is scored."""
_SCORED_LOGITS = 1 << 26
"""Logits that scoring computes at once."""


def heal(shape: Shape, machine: Machine, kept: int) -> Phase:
    """Compute what healing needs.

    Args:
        kept: Middle blocks of the emulator.
    """
    length = shape.positions(_CALIBRATION_LENGTH)
    batch = min(_CALIBRATION, _CALIBRATION_BATCH * length)
    inner, width = shape.linears[shape.row.heal or ""]
    equations = _DOUBLE * (2 * inner**2 + 4 * inner * width)
    flops = 2 * forward_flops(shape, _CALIBRATION, length)
    flops += kept * (2.0 * _CALIBRATION * inner * (inner + width) + inner**3 / 3)
    memory = {
        "process": PROCESS,
        "weights": _streamed(shape, machine),
        "equations": equations,
        "activations": _passing(shape, batch) + 4 * batch * (2 * inner + 3 * width),
    }
    disk = 2 * 4 * _CALIBRATION * shape.width
    return _on(machine, Phase(name="heal", memory=memory, flops=flops, disk=disk))


def score(
    name: str, shape: Shape, machine: Machine, positions: int, *, held: int | None = None
) -> Phase:
    """Compute what scoring a model needs.

    Args:
        positions: Of all data that it is scored on.
        held: Bytes of its weights in memory; None: its blocks are read one after the other.
    """
    length = shape.positions(512)
    logits = min(_SCORED * shape.outputs, _SCORED_LOGITS) if shape.patches is None else 0
    memory = {
        "process": PROCESS,
        "weights": _streamed(shape, machine) if held is None else held,
        "activations": _passing(shape, max(length, _SCORED)),
        "loss": logits * (8 + machine.multiplied),
    }
    flops = forward_flops(shape, positions, length)
    return _on(machine, Phase(name=name, memory=memory, flops=flops))


def plug(shape: Shape, machine: Machine, adapter: int) -> Phase:
    """Compute what adding an adapter to the model needs, and writing the model.

    Args:
        adapter: Bytes of the adapter.
    """
    largest = 4 * max(prod(sizes) for sizes in shape.linears.values())
    memory = {
        "process": PROCESS,
        "weights": _streamed(shape, machine),
        "trained": adapter + 2 * largest,
    }
    return Phase(name="plug in", memory=memory, disk=shape.size)


def _streamed(shape: Shape, machine: Machine) -> int:
    """Compute the bytes of the tensors outside the blocks, and of the blocks in memory at once."""
    number = shape.number if machine.gpu else 4
    return number * (shape.outer + _RESIDENT * shape.block)


def _passing(shape: Shape, positions: int) -> int:
    """Compute the bytes of one block's activations where no gradient is taken."""
    return 4 * positions * (4 * shape.width + (2 + shape.gated) * shape.inner)


def _on(machine: Machine, phase: Phase) -> Phase:
    """Move what a phase needs to the GPU, if there is one."""
    if not machine.gpu:
        return phase
    host = {"process": phase.memory["process"], "weights": phase.memory["weights"]}
    device = {name: size for name, size in phase.memory.items() if name != "process"}
    return Phase(name=phase.name, memory=host, device=device, flops=phase.flops, disk=phase.disk)
