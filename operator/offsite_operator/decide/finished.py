"""Handles finished jobs: notifies the peer, retries, or deletes the job after its TTL."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from offsite.resources import JobStatus
from offsite_operator.decide.decision import Decision
from offsite_operator.decide.notices import notify_peer
from offsite_operator.decide.status import FIRST, ConditionUpdate, Kind, changed, held_up
from offsite_operator.observe.model import Observed

_UNTIL_TOLD = 15.0
"""Delay of the next check whether the peer was notified."""
_UNSOUND = frozenset({"BundleError", "ApprovalError", "DisclosureError", "ReleaseRefused"})
"""Reasons for which Publish refuses a result. The next round makes, or reports, another one."""
_OF_A_ROUND = (
    "job_name",
    "first_attempt",
    "start_time",
    "lost_time",
    "completion_time",
    "progress",
)
"""Status fields that each round resets."""


def settle(seen: Observed) -> Decision:
    """Decide about a job that is Complete or Failed."""
    spec, status = seen.job.spec, seen.job.status
    active = tuple(child for child in seen.children if child.active and child.step != "Notify")
    if active or spec is None:
        return Decision(delete=active)
    if spec.retries > (status.retries or 0) and not (spec.cancel or seen.job.has("Complete")):
        once_more = Decision(status=_once_more(seen, spec.retries), again=0)
        return held_up(seen, status.state or "Failed") or once_more
    if (notified := notify_peer(seen, spec)) is not None:
        return notified
    left = _seconds_left(seen, spec.ttl_seconds_after_finished)
    if left is not None and left <= 0:
        under_way = any(child.active for child in seen.children)
        return Decision(again=_UNTIL_TOLD) if under_way else Decision(delete_job=True)
    return Decision(status=_observed(seen), again=left)


def _once_more(seen: Observed, retries: int) -> JobStatus | None:
    """Start another round. A result that only failed to publish is kept, if it is sound."""
    status = seen.job.status
    conditions: dict[Kind, ConditionUpdate] = {
        **FIRST,
        "Failed": ConditionUpdate("False", "Retried"),
    }
    kept: Mapping[str, Any] = {}
    unsound = any(c.type == "Failed" and c.reason in _UNSOUND for c in status.conditions)
    if status.step != "Publish" or unsound:
        names = ("step", "envelope", "sequence", "egress", "approval")
        kept = dict.fromkeys(names)
    return changed(
        seen, "Pending", conditions, retries=retries, **dict.fromkeys(_OF_A_ROUND), **kept
    )


def _seconds_left(seen: Observed, ttl: int | None) -> float | None:
    ended = seen.job.status.completion_time
    if ttl is None or ended is None:
        return None
    return (ended + timedelta(seconds=ttl) - seen.now).total_seconds()


def _observed(seen: Observed) -> JobStatus | None:
    """Record that the operator has seen the current spec, which changes nothing here."""
    job, status = seen.job, seen.job.status
    update: dict[str, Any] = {"observed_generation": job.generation}
    if job.spec is not None and job.has("Complete"):  # a completed job is never retried
        update["retries"] = max(job.spec.retries, status.retries or 0)
    observed = status.model_copy(update=update)
    return None if observed == status else observed
