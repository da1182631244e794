"""How many jobs of an organization may run at once, and whose turn it is.

A job takes its place before its first child is created, and keeps it until it has ended or was
suspended. Those that find no place wait in the order in which they were created.
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
    """Which jobs have a place, and which wait for one."""

    running: frozenset[str] = frozenset()
    """By their UIDs."""
    waiting: Mapping[str, str] = field(default_factory=dict)
    """Their names by their UIDs, the oldest first."""

    def ahead(self, uid: str) -> int:
        """Count the jobs that come before one: those that run, and those that waited longer."""
        waiting = list(self.waiting)
        before = waiting.index(uid) if uid in waiting else len(waiting)
        return len(self.running - {uid}) + before

    def next(self, most: int) -> list[str]:
        """Name the jobs whose turn it is, if so many may run."""
        return list(self.waiting.values())[: max(0, most - len(self.running))]


def room_of(jobs: Iterable[Mapping[str, Any]]) -> Room:
    """Find out which of some OffsiteJobs have a place, as the API server gives them."""
    alive = [job for job in jobs if "deletionTimestamp" not in job["metadata"]]
    running = frozenset(job["metadata"]["uid"] for job in alive if _runs(job))
    waiting = sorted((job["metadata"] for job in alive if _waits(job)), key=_age)
    return Room(running, {each["uid"]: each["name"] for each in waiting})


def turn(seen: Observed) -> Decision | None:
    """Give a job its place, or queue it; None: it has one, or needs none."""
    most, status = seen.settings.bounds.max_running_jobs, seen.job.status
    if most is None or status.start_time is not None:
        return None
    says: dict[Kind, ConditionUpdate] = {"Accepted": ConditionUpdate("True", "Accepted")}
    if seen.job.has("Suspended"):  # else what the suspension stopped would count as lost
        says["Suspended"] = ConditionUpdate("True", "Suspended", "it resumes when it is its turn")
    if seen.ahead < most:
        says["Running"] = ConditionUpdate("False", "WaitingForPod", "it is its turn")
        started = changed(seen, "Pending", says, start_time=seen.now)
        return Decision(status=started, again=0)
    said = (
        f"bounds.maxRunningJobs in the chart's values allows {most} at once, and so many run or "
        "wait for longer; it starts when it is its turn"
    )
    says["Running"] = ConditionUpdate("False", _QUEUED, said)
    return Decision(status=changed(seen, "Queued", says))


def _runs(job: Mapping[str, Any]) -> bool:
    status = job.get("status", {})
    if {("Complete", "True"), ("Failed", "True")} & _told(job, "status"):
        return False
    # Kueue may start what is in its queue at any time
    by_kueue = status.get("state") == "Queued" and ("Running", _QUEUED) not in _told(job, "reason")
    return "startTime" in status or by_kueue


def _waits(job: Mapping[str, Any]) -> bool:
    spec = job.get("spec", {})
    if spec.get("suspend") or spec.get("cancel") or _runs(job):
        return False
    accepted = ("Accepted", "True") in _told(job, "status")
    return accepted and ("Running", _QUEUED) in _told(job, "reason")


def _told(job: Mapping[str, Any], what: str) -> set[tuple[str, str]]:
    return {(each["type"], each[what]) for each in job.get("status", {}).get("conditions", ())}


def _age(metadata: Mapping[str, Any]) -> tuple[str, str]:
    return metadata["creationTimestamp"], metadata["uid"]
