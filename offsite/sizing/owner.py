"""What the model owner's stages need where nothing is trained: healing, and plugging in.

Blocks are read from the disk one after the other, so depth costs time and not memory.
"""

from math import prod

from offsite.sizing.passing import PROCESS, forward_flops, on_machine, passing, streamed
from offsite.sizing.phase import Phase
from offsite.sizing.setting import Machine
from offsite.sizing.shape import Shape

_DOUBLE = 8
_CALIBRATION, _CALIBRATION_BATCH, _CALIBRATION_LENGTH = 32_768, 8, 256
"""Positions that healing fits to, examples of a batch, and positions of an example."""


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
        "weights": streamed(shape, machine),
        "equations": equations,
        "activations": passing(shape, machine, batch) + 4 * batch * (2 * inner + 5 * width),
    }
    disk = 2 * 4 * _CALIBRATION * shape.width
    return on_machine(machine, Phase(name="heal", memory=memory, flops=flops, disk=disk))


def plug(shape: Shape, machine: Machine, adapter: int) -> Phase:
    """Compute what adding an adapter to the model needs, and writing the model.

    Args:
        adapter: Bytes of the adapter.
    """
    largest = 4 * max(prod(sizes) for sizes in shape.linears.values())
    memory = {
        "process": PROCESS,
        "weights": streamed(shape, machine),
        "trained": adapter + 2 * largest,
    }
    return Phase(name="plug in", memory=memory, disk=shape.size)
