"""The step that trains, in a pod: it has the private store, and neither keys nor the exchange."""

from collections.abc import Mapping

import torch

from offsite.bundle import MANIFEST
from offsite.errors import BundleError
from offsite.events import Monitor
from offsite.layers import leads
from offsite.stages.work import work
from offsite.steps.inputs import inputs_of
from offsite.steps.pod import Pod, has_result, keep_result, lay_out
from offsite.steps.workspace import Workspace, fingerprint_of
from offsite.store import link_or_copy
from offsite.task import Task
from offsite.train import Checkpoints


def run_work(pod: Pod, monitor: Monitor) -> None:
    """Make the result of a job from what was handed on, and hand it on.

    Several workers each call it, with a scratch of its own; one of them hands on.

    Raises:
        OffsiteError: what went wrong; a later attempt goes on from the last checkpoint.
    """
    task, party = pod.task, pod.party()
    if has_result(task, party.cabinet):
        monitor.log("an earlier attempt made the result already")
        return
    # so that an attempt elsewhere, and one on Ray, makes the same bytes
    torch.set_num_threads(task.job.spec.resources.cpus_per_worker)
    space = pod.space(party)
    inputs = inputs_of(task.job.spec, party)
    digests = inputs.digests()
    if task.envelope is not None:
        digests["bundle"] = task.envelope
        _fetch_opened(task, space)
    work(space, inputs, digests, _checkpoints(task, space, digests), monitor)
    if leads():
        keep_result(task, space, monitor)


def _fetch_opened(task: Task, space: Workspace) -> None:
    name = f"work/{task.uid}/opened"
    folder = space.party.cabinet.folder(name, MANIFEST)
    if folder is None:
        raise BundleError(f"there is no opened bundle at {space.party.cabinet.uri(name)}")
    lay_out(folder, space.opened)


def _checkpoints(task: Task, space: Workspace, digests: Mapping[str, str]) -> Checkpoints:
    """Keep checkpoints in the private store, each kind of inputs its own; fetch the last one."""
    cabinet, path = space.party.cabinet, space.checkpoint
    fingerprint = fingerprint_of(task.job.spec, digests)
    name = f"work/{task.uid}/checkpoint-{fingerprint[:12]}"
    if folder := cabinet.folder(name, path.name):
        path.parent.mkdir(exist_ok=True)
        link_or_copy(folder / path.name, path)

    def keep() -> None:
        cabinet.put(path.parent, name, path.name, lambda: None)

    return Checkpoints(path, task.checkpoint_seconds, keep)
