"""Reports whether a job requests enough memory, by the estimate of its step Open.

It is an estimate, so the job runs all the same: the condition and its Event are a warning.
"""

from offsite.api import JobSpec
from offsite.resources import JobStatus
from offsite_operator.decide.status import ConditionUpdate, updated
from offsite_operator.observe.model import Child, Observed
from offsite_operator.quantity import amount


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
    # no other condition: a job that goes on is suspended until its next step is back
    job = seen.job
    conditions = updated(
        job.status.conditions, {"MemorySufficient": update}, job.generation, seen.now
    )
    status = job.status.model_copy(update={"conditions": conditions})
    return None if status == job.status else status
