"""The Work step: runs the stage of a job on its inputs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from offsite.errors import InputError
from offsite.layers import deterministic, leads, modality_of
from offsite.stages.context import Context
from offsite.stages.distill import make_emulator
from offsite.stages.plug_in import make_model
from offsite.stages.tune import inspected_emulator, make_adapter
from offsite.steps.egress import Figures
from offsite.store import privately


def work(context: Context) -> None:
    """Make the result of a job; what the peer sent was opened into its workspace.

    Raises:
        OffsiteError: what went wrong; there is no result.
    """
    spec, figures = context.space.spec, Figures()
    context = replace(context, monitor=context.monitor.with_copy(figures.receive))
    with privately(), _short_memory_reported(), deterministic(spec.deterministic):
        # before private data meets it
        emulator = inspected_emulator(context) if spec.tune is not None else None
        _read_data(context)
        if spec.distill is not None:
            make_emulator(context, spec.distill)
        elif spec.tune is not None and emulator is not None:
            make_adapter(context, spec.tune, emulator)
        elif spec.plug_in is not None:
            make_model(context, spec.plug_in)
    if leads():
        figures.save(context.space.folder)


def _read_data(context: Context) -> None:
    """Read all data sets: what is wrong with them then costs no loading of a model."""
    if texts := set(context.inputs.texts.values()):
        modality = modality_of(context.model)
        for data in texts:
            modality.check(data)


@contextmanager
def _short_memory_reported() -> Iterator[None]:
    """Say what to do when the `with` block does not fit into the memory of its device."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        detail = " ".join(str(error).split())[:200]
        raise InputError(
            f"the device has too little memory for this: {detail}; make batchSize or blockSize "
            "smaller, spread the blocks over more workers (sharding: FSDP), or use a larger one"
        ) from error
