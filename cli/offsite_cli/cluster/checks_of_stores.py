"""What jobs tell of the two stores, which only the operator and the pods reach.

Nothing is asked of a store here, other than in `trying`: a finding is as old as its job.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from offsite_cli.cluster.facts import (
    Resource,
    duration,
    moment,
    name_of,
    state_of,
    status_of,
    why,
)
from offsite_cli.cluster.findings import Finding
from offsite_cli.cluster.jobs import list_jobs

if TYPE_CHECKING:
    from offsite_cli.cluster.api import Api

_TROUBLE = ("StorageError", "UnreachableError", "NotAllowedError")
"""Reasons of steps that a store failed; after several attempts they stand in the message."""


def stores(api: "Api") -> Iterator[Finding]:
    """Gather what the namespace's jobs tell of the exchange and the private store."""
    return stores_of(list_jobs(api)["items"], datetime.now(UTC))


def stores_of(jobs: Sequence[Resource], now: datetime) -> Iterator[Finding]:
    """Judge the stores by jobs: what waits says how the exchange is now, what ended how both were.

    Args:
        now: from which ages are counted.
    """
    waiting = [*_exchange(jobs)]
    yield from waiting
    ended = [each for each in jobs if status_of(each).get("completionTime") and _tells(each)]
    if ended:
        yield _passed(max(ended, key=_end), now)
    elif not waiting:
        told = "only the operator and the pods reach them, and no job here tells of them yet"
        yield Finding("stores", "skip", told, "offsite doctor --deep tries them")


def _exchange(jobs: Sequence[Resource]) -> Iterator[Finding]:
    """Say how the operator finds the exchange, which it asks for jobs that wait for a bundle."""
    found = {why(each).reason: each for each in jobs if state_of(each) == "Pending"}
    if job := found.get("ExchangeUnreachable"):
        told = f"the operator cannot read the exchange: {why(job).message}"
        yield Finding("stores", "fail", told, "see exchange in the values of the release")
    elif job := found.get("WaitingForBundle"):
        told = f"the operator reads the exchange, for {name_of(job)}, which waits for a bundle"
        yield Finding("stores", "ok", told)


def _passed(job: Resource, now: datetime) -> Finding:
    ago = f"{duration((now - _end(job)).total_seconds())} ago"
    if state_of(job) == "Complete":
        return Finding("stores", "ok", f"{name_of(job)} got through to both, {ago}")
    told = f"a store failed {name_of(job)}, {ago}: {why(job).message}"
    return Finding("stores", "warn", told, "mend what it says, then `offsite retry`")


def _tells(job: Resource) -> bool:
    """Whether the way in which a job ended says something of the stores."""
    said = ": ".join(why(job))
    return state_of(job) == "Complete" or any(reason in said for reason in _TROUBLE)


def _end(job: Resource) -> datetime:
    return moment(status_of(job)["completionTime"])


CHECKS = {"stores": stores}
