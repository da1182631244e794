"""Read the fields of a job's resource: state, reason, times and exit code.

Missing fields are tolerated: an operator of another version may have written the status.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, NamedTuple

from offsite import errors

Resource = dict[str, Any]
"""A Kubernetes object in JSON."""

FINAL_STATES = ("Complete", "Failed", "Cancelled")
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))
_EXIT_CODES = {"NotAllowed": 4, "EgressDisabled": 4, "ImagePullFailed": 2, "InvalidPod": 2}
_EXIT_CODES |= {"ApprovalRejected": 4}
_EXIT_CODES |= {
    name: each.exit_code
    for name, each in vars(errors).items()
    if isinstance(each, type) and issubclass(each, errors.OffsiteError)
}


class Explanation(NamedTuple):
    """Why a job is in its state."""

    reason: str
    message: str


def name_of(resource: Resource) -> str:
    """Return the name."""
    return str(resource["metadata"]["name"])


def status_of(resource: Resource) -> Mapping[str, Any]:
    """Return the status, which is empty until an operator writes one."""
    return resource.get("status") or {}


def state_of(job: Resource) -> str:
    """Return the state, which is `Pending` until an operator writes one."""
    return str(status_of(job).get("state") or "Pending")


def explanation_of(job: Resource) -> Explanation:
    """Return reason and message of the condition that explains the state."""
    conditions = {each["type"]: each for each in status_of(job).get("conditions") or []}
    if not conditions:
        return Explanation(
            "NotSeen", "no operator has seen the job yet; if this lasts, run `offsite doctor`"
        )
    reason = status_of(job).get("reason")
    found = next((c for c in conditions.values() if c.get("reason") == reason), {"reason": reason})
    return Explanation(found.get("reason") or "", found.get("message") or "")


def is_settled(job: Resource) -> bool:
    """Whether the job has ended, and its status describes the current spec."""
    status, spec = status_of(job), job["spec"]
    current = status.get("observedGeneration", 0) >= job["metadata"].get("generation", 0)
    # a retry of a cancelled job waits until `cancel` is false again
    heeded = spec.get("cancel", False) or status.get("retries", 0) >= spec.get("retries", 0)
    return state_of(job) in FINAL_STATES and current and heeded


def exit_code_of(job: Resource) -> int:
    """Return the exit code that `offsite run` would have had for this outcome."""
    state = state_of(job)
    return 0 if state == "Complete" else _EXIT_CODES.get(explanation_of(job).reason, 1)


def percent_of(job: Resource) -> float | None:
    """Return how much of its phase is done, in percent."""
    if state_of(job) == "Complete":
        return 100.0
    found = (status_of(job).get("progress") or {}).get("percent")
    return None if found is None else float(found)


def parse_time(text: str) -> datetime:
    """Parse a timestamp of Kubernetes."""
    return datetime.fromisoformat(text).astimezone(UTC)


def age_of(resource: Resource, now: datetime) -> str:
    """Format the age of a resource; `<unknown>`, as in kubectl, if it was never created."""
    created = resource["metadata"].get("creationTimestamp")
    return format_duration((now - parse_time(created)).total_seconds()) if created else "<unknown>"


def format_duration(seconds: float) -> str:
    """Format a duration as kubectl does: in two units if the first is below ten."""
    whole = max(0, int(seconds))
    for (size, unit), (small, below) in pairwise(_UNITS):
        count, rest = divmod(whole, size)
        if count:
            few = count < 10 and rest >= small
            return f"{count}{unit}{rest // small}{below}" if few else f"{count}{unit}"
    return f"{whole}s"
