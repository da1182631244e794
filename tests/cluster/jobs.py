"""OffsiteJobs of a namespace, as kubectl has them."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from cluster.namespaces import Namespace
from cluster.watching import NAME, watched
from offsite.resources import Condition, JobStatus

Happened = Callable[[JobStatus], bool]


def offsite_job(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Describe an OffsiteJob."""
    kind = {"apiVersion": "offsite-tuning.dev/v1alpha1", "kind": "OffsiteJob"}
    return kind | {"metadata": {"name": name}, "spec": spec}


def change_job(space: Namespace, name: str, spec: dict[str, Any]) -> None:
    """Change the spec of an OffsiteJob."""
    patch = json.dumps({"spec": spec})
    space.kubectl("patch", "offsitejob", name, "--type=merge", f"--patch={patch}")


def status_of(space: Namespace, name: str) -> JobStatus:
    """Read what became of an OffsiteJob."""
    return JobStatus.model_validate(space.get(f"offsitejob/{name}").get("status", {}))


def reaches(space: Namespace, name: str, happened: Happened, seconds: float = 300.0) -> JobStatus:
    """Watch an OffsiteJob until it has a status, now or later; give that.

    Raises:
        RuntimeError: it takes too long; the message has the last status.
    """
    with watched(space, f"offsitejob/{name}", NAME, ".status") as told:
        try:
            return _status(told.first(seen(happened), seconds)[1])
        except RuntimeError as error:
            raise RuntimeError(f"{name}: {error}: {status_of(space, name).wire()}") from error


def seen(happened: Happened) -> Callable[[str, str], bool]:
    """Look for a status among those that a watch of OffsiteJobs tells."""
    return lambda _, status: happened(_status(status))


def condition(status: JobStatus, kind: str = "Running") -> str:
    """Read reason and message of a condition."""
    return next((f"{c.reason}: {c.message}" for c in _of(status, kind)), "")


def has(reason: str, kind: str) -> Happened:
    """Whether a condition has a reason."""
    return lambda status: any(c.reason == reason for c in _of(status, kind))


def tells(text: str, kind: str = "Running") -> Happened:
    """Whether a text is in the message of a condition."""
    return lambda status: any(text in c.message for c in _of(status, kind))


def is_in(state: str) -> Happened:
    """Whether a job is in a state."""
    return lambda status: status.state == state


def _of(status: JobStatus, kind: str) -> Iterator[Condition]:
    """Find a condition by its type; there is none or one."""
    return (each for each in status.conditions if each.type == kind)


def _status(told: str) -> JobStatus:
    return JobStatus.model_validate_json(told or "{}")
