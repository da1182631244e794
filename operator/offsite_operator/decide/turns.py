"""Limits how many jobs of an organization run at once.

A job is admitted before its first child is created, and counts as running until it has finished or
is suspended. Other jobs are queued in the order of their creation.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from offsite_operator.decide.decision import Decision
from offsite_operator.decide.status import ConditionUpdate, Kind, changed
from offsite_operator.observe.model import Observed

_QUEUED = "TooManyJobs"


@dataclass(frozen=True)
class Room:
    """Which jobs run, and which are queued."""

    running: frozenset[str] = frozenset()
    """UIDs."""
    waiting: Mapping[str, str] = field(default_factory=dict)
    """Names by UID, oldest first."""

    def ahead(self, uid: str) -> int:
        """Count the jobs ahead of one: running ones, and older ones in the queue."""
        waiting = list(self.waiting)
        before = waiting.index(uid) if uid in waiting else len(waiting)
        return len(self.running - {uid}) + before

    def next(self, most: int) -> list[str]:
        """Name the queued jobs for which there is room under a limit."""
        return list(self.waiting.values())[: max(0, most - len(self.running))]


def room_of(jobs: Iterable[Mapping[str, Any]]) -> Room:
    """Classify OffsiteJobs, as the API server returns them, into running and queued."""
    alive = [job for job in jobs if "deletionTimestamp" not in job["metadata"]]
    running = frozenset(job["metadata"]["uid"] for job in alive if _runs(job))
    waiting = sorted((job["metadata"] for job in alive if _waits(job)), key=_age)
    return Room(running, {each["uid"]: each["name"] for each in waiting})


def turn(seen: Observed) -> Decision | None:
    """Admit a job or queue it; None: it is already admitted, or there is no limit."""
    most, status = seen.settings.bounds.max_running_jobs, seen.job.status
    if most is None or status.start_time is not None:
        return None
    conditions: dict[Kind, ConditionUpdate] = {"Accepted": ConditionUpdate("True", "Accepted")}
    if seen.job.has("Suspended"):  # otherwise the stopped child would count as lost
        conditions["Suspended"] = ConditionUpdate(
            "True", "Suspended", "the job resumes when running jobs finish"
        )
    if seen.ahead < most:
        conditions["Running"] = ConditionUpdate("False", "WaitingForPod", "the job was admitted")
        started = changed(seen, "Pending", conditions, start_time=seen.now)
        return Decision(status=started, again=0)
    detail = (
        f"bounds.maxRunningJobs in the chart's values allows {most} running jobs, and as many run "
        "or "
        "are ahead in the queue; the job starts when they finish"
    )
    conditions["Running"] = ConditionUpdate("False", _QUEUED, detail)
    return Decision(status=changed(seen, "Queued", conditions))


def _runs(job: Mapping[str, Any]) -> bool:
    status = job.get("status", {})
    if {("Complete", "True"), ("Failed", "True")} & _conditions(job, "status"):
        return False
    # Kueue may start a queued job at any time
    by_kueue = status.get("state") == "Queued" and ("Running", _QUEUED) not in _conditions(
        job, "reason"
    )
    return "startTime" in status or by_kueue


def _waits(job: Mapping[str, Any]) -> bool:
    spec = job.get("spec", {})
    if spec.get("suspend") or spec.get("cancel") or _runs(job):
        return False
    accepted = ("Accepted", "True") in _conditions(job, "status")
    return accepted and ("Running", _QUEUED) in _conditions(job, "reason")


def _conditions(job: Mapping[str, Any], what: str) -> set[tuple[str, str]]:
    return {(each["type"], each[what]) for each in job.get("status", {}).get("conditions", ())}


def _age(metadata: Mapping[str, Any]) -> tuple[str, str]:
    return metadata["creationTimestamp"], metadata["uid"]
