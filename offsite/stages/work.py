"""The Work step: runs the stage of a job on its inputs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from offsite.errors import InputError
from offsite.events import Monitor
from offsite.rows import read_rows
from offsite.stages.distill import make_emulator
from offsite.stages.plug_in import make_model
from offsite.stages.tune import make_adapter
from offsite.steps.inputs import Inputs
from offsite.steps.workspace import Workspace
from offsite.store import privately
from offsite.training.train import Checkpoints


def work(
    space: Workspace,
    inputs: Inputs,
    digests: Mapping[str, str],
    checkpoints: Checkpoints,
    monitor: Monitor,
) -> None:
    """Make the result of a job; what the peer sent was opened into its workspace.

    Args:
        digests: of the inputs by name; `bundle` is that of the envelope that was opened.

    Raises:
        OffsiteError: what went wrong; there is no result.
    """
    spec = space.spec
    # what can be known without a model costs no loading of one
    for text in set(inputs.texts.values()):
        read_rows(text)
    with privately(), _short_memory_told():
        if spec.distill is not None:
            make_emulator(space, spec.distill, inputs, digests["model"], checkpoints, monitor)
        elif spec.tune is not None:
            make_adapter(space, spec.tune, inputs, digests["bundle"], checkpoints, monitor)
        elif spec.plug_in is not None:
            make_model(space, spec.plug_in, inputs, digests["model"], monitor)


@contextmanager
def _short_memory_told() -> Iterator[None]:
    """Say what to do when the `with` block does not fit into the memory of its device."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        said = " ".join(str(error).split())[:200]
        raise InputError(
            f"the device has too little memory for this: {said}; make batchSize or blockSize "
            "smaller, spread the blocks over more workers (sharding: FSDP), or use a larger one"
        ) from error
