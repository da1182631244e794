"""The step that trains, in a pod: it has the private store, and neither keys nor the exchange."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import torch

from offsite.events import Monitor, Started
from offsite.layers import leads
from offsite.stages.context import Context
from offsite.stages.work import work
from offsite.steps.handover import Handover
from offsite.steps.inputs import inputs_of
from offsite.steps.party import Party
from offsite.steps.pod import Pod
from offsite.steps.recording import recorded_work
from offsite.steps.workspace import Workspace, fingerprint_of
from offsite.task import WorkTask
from offsite.training.checkpoints import Checkpoints


def run_work(pod: Pod[WorkTask], monitor: Monitor) -> None:
    """Make the result of a job from what was handed on, and hand it on.

    Several workers each call it, with a scratch of its own; one of them hands on.

    Raises:
        OffsiteError: what went wrong; a later attempt goes on from the last checkpoint.
    """
    task, party = pod.task, pod.party()
    handover = Handover(task.uid, party.artifacts)
    if handover.has_result():
        monitor.log("an earlier attempt made the result already")
        return
    # so that an attempt elsewhere, and one on Ray, makes the same bytes
    torch.set_num_threads(task.job.spec.resources.cpus_per_worker)
    space = pod.space(party)
    inputs = inputs_of(task.job.spec, party)
    digests = inputs.digests()
    if task.envelope is not None:
        digests["bundle"] = task.envelope
    handover.take_given(space)
    checkpoints = _checkpoints(handover, space, digests, task.checkpoint_seconds)
    with _recorded(task, party, monitor) as monitor:
        monitor.emit(Started(fingerprint=fingerprint_of(space.spec, digests), inputs=digests))
        work(Context(space, inputs, digests, checkpoints, monitor))
        if leads():
            handover.keep_result(space, monitor)


def _recorded(task: WorkTask, party: Party, monitor: Monitor) -> AbstractContextManager[Monitor]:
    """Record the run in one of the workers."""
    return recorded_work(task, party.artifacts, monitor) if leads() else nullcontext(monitor)


def _checkpoints(
    handover: Handover, space: Workspace, digests: Mapping[str, str], seconds: float
) -> Checkpoints:
    """Keep checkpoints in the private store, each kind of inputs its own; fetch the last one."""
    name = f"checkpoint-{fingerprint_of(space.spec, digests)[:12]}"
    handover.take_checkpoint(name, space)
    return Checkpoints(space.checkpoint, seconds, lambda: handover.keep_checkpoint(name, space))
