"""What a job's resource says.

It is read leniently, since an operator of another version may have written it.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, NamedTuple

from offsite import errors

Resource = dict[str, Any]
"""An object of Kubernetes, as JSON has it."""

FINAL = ("Complete", "Failed", "Cancelled")
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))
_EXIT_CODES = {"NotAllowed": 4, "EgressDisabled": 4, "ImagePullFailed": 2, "InvalidPod": 2}
_EXIT_CODES |= {
    name: each.exit_code
    for name, each in vars(errors).items()
    if isinstance(each, type) and issubclass(each, errors.OffsiteError)
}


class Why(NamedTuple):
    """Why a job is in its state."""

    reason: str
    message: str


def name_of(resource: Resource) -> str:
    """Read the name."""
    return str(resource["metadata"]["name"])


def status_of(resource: Resource) -> Mapping[str, Any]:
    """Read the status; empty: no operator has written one."""
    return resource.get("status") or {}


def state_of(job: Resource) -> str:
    """Read the state, `Pending` where no operator has written one."""
    return str(status_of(job).get("state") or "Pending")


def why(job: Resource) -> Why:
    """Find the condition that says why the job is in its state."""
    told = {each["type"]: each for each in status_of(job).get("conditions") or []}
    if not told:
        return Why("NotSeen", "no operator has taken it up yet; if that stays, `offsite doctor`")
    reason = status_of(job).get("reason")
    found = next((c for c in told.values() if c.get("reason") == reason), {"reason": reason})
    return Why(found.get("reason") or "", found.get("message") or "")


def settled(job: Resource) -> bool:
    """Tell whether the job has ended, and its status is about the spec that stands there now."""
    status, spec = status_of(job), job["spec"]
    current = status.get("observedGeneration", 0) >= job["metadata"].get("generation", 0)
    # a retry of what is cancelled waits until it is no longer
    heeded = spec.get("cancel", False) or status.get("retries", 0) >= spec.get("retries", 0)
    return state_of(job) in FINAL and current and heeded


def exit_code(job: Resource) -> int:
    """Give the exit code for how a job ended, as `offsite run` would have had it."""
    state = state_of(job)
    return 0 if state == "Complete" else _EXIT_CODES.get(why(job).reason, 1)


def percent_of(job: Resource) -> float | None:
    """Read how much of its phase is done."""
    if state_of(job) == "Complete":
        return 100.0
    found = (status_of(job).get("progress") or {}).get("percent")
    return None if found is None else float(found)


def moment(text: str) -> datetime:
    """Read a time as Kubernetes writes it."""
    return datetime.fromisoformat(text).astimezone(UTC)


def age_of(resource: Resource, now: datetime) -> str:
    """Say how old a resource is; kubectl's `<unknown>`, if no server has it."""
    made = resource["metadata"].get("creationTimestamp")
    return duration((now - moment(made)).total_seconds()) if made else "<unknown>"


def duration(seconds: float) -> str:
    """Say a time span as kubectl does: in two units where the first is below ten."""
    whole = max(0, int(seconds))
    for (size, unit), (small, below) in pairwise(_UNITS):
        count, rest = divmod(whole, size)
        if count:
            few = count < 10 and rest >= small
            return f"{count}{unit}{rest // small}{below}" if few else f"{count}{unit}"
    return f"{whole}s"
