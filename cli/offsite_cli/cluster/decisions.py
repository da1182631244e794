"""What each command changes in a job's spec: a change, or a remark where nothing is to change."""

from typing import Any

from offsite.errors import InputError
from offsite_cli.cluster.facts import FINAL, Resource, name_of, settled, state_of, status_of


def cancelled(job: Resource) -> dict[str, Any] | str:
    """Stop it for good."""
    if settled(job):
        return f"has ended already: {state_of(job)}"
    return "is being cancelled already" if job["spec"].get("cancel") else {"cancel": True}


def suspended(job: Resource) -> dict[str, Any] | str:
    """Stop it for a while.

    Raises:
        InputError: it has ended.
    """
    if settled(job):
        raise InputError(f"{name_of(job)} has ended ({state_of(job)}); there is nothing to suspend")
    return "is suspended already" if job["spec"].get("suspend") else {"suspend": True}


def resumed(job: Resource) -> dict[str, Any] | str:
    """Let it go on."""
    return {"suspend": False} if job["spec"].get("suspend") else "is not suspended"


def retried(job: Resource) -> dict[str, Any] | str:
    """Run it once more.

    Raises:
        InputError: it has not ended, or needs no retry.
    """
    name, spec, state = name_of(job), job["spec"], state_of(job)
    if state == "Complete":
        raise InputError(f"{name} is complete; submit it under another name to make it anew")
    if state not in FINAL:
        raise InputError(f"{name} is {state.lower()}; only what failed or was cancelled is retried")
    if not settled(job):
        return "is to run once more already"
    more = max(spec.get("retries", 0), status_of(job).get("retries", 0)) + 1
    return {"retries": more} | ({"cancel": False} if spec.get("cancel") else {})
