"""Reports whether a job requests enough memory, by the estimate of its step Open.

It is an estimate, so the job runs all the same: the condition and its Event are a warning.
"""

from offsite.api import JobSpec
from offsite.resources import JobStatus
from offsite_operator.decide.status import ConditionUpdate, Kind, changed
from offsite_operator.observe.model import Child, Observed
from offsite_operator.quantity import amount

_KIND: Kind = "MemorySufficient"


def with_estimate(seen: Observed, spec: JobSpec, opened: Child) -> JobStatus | None:
    """Build the status with the estimate of a step Open; None: it has none, or has it already."""
    estimate = opened.report.estimate if opened.report else None
    if estimate is None:
        return None
    enough = estimate.memory_bytes <= amount(spec.resources.memory_per_worker)
    update = (
        ConditionUpdate("True", "Sufficient", estimate.message)
        if enough
        else ConditionUpdate("False", "MemoryTooSmall", estimate.message)
    )
    known = {each.type: each for each in seen.job.status.conditions}.get(_KIND)
    # once: a job that goes on after it was suspended has this step as its newest again
    if known and (known.status, known.reason, known.message) == (
        update.status,
        update.reason,
        update.shown,
    ):
        return None
    return changed(seen, seen.job.status.state or "Running", {_KIND: update})
