"""Estimates, before the work, the memory that it will need.

Only where the sizes of the model are known here: those of a model at the hub are not.
"""

from pathlib import Path

from offsite.events import Estimate, Monitor
from offsite.sizing import Data, Limit, Machine, explained, needs_of, subject_in
from offsite.steps.feasibility import config_of
from offsite.steps.workspace import Workspace


def report_estimate(space: Workspace, monitor: Monitor) -> None:
    """Report the memory that the work of a job will need, and what makes it fit if it does not.

    Raises:
        ModelError: The config of the model is damaged.
    """
    spec = space.spec
    if (source := _source(space)) is None:
        return
    subject = subject_in(source)
    limit, data = Limit.requested(spec), Data()
    needs, message = explained(
        spec, lambda job: needs_of(job, subject, Machine.of(job.resources), data), limit
    )
    monitor.emit(Estimate(memory_bytes=needs.peak, message=message))


def _source(space: Workspace) -> Path | None:
    model = space.spec.model
    if model is None:
        return space.opened
    return None if model.startswith("hf://") else config_of(space.party, model)
