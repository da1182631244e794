"""Names, labels and annotations of the objects that the operator creates."""

from typing import Any

from offsite.apiversion import GROUP
from offsite.resources import Step

Object = dict[str, Any]
"""An object of the API server, as a dictionary."""
MANAGER = "offsite-operator"
"""The field manager, and the value of `app.kubernetes.io/managed-by`."""
MANAGED_BY = "app.kubernetes.io/managed-by"
JOB, JOB_UID = f"{GROUP}/job", f"{GROUP}/job-uid"
STEP, ATTEMPT, ROUND = f"{GROUP}/step", f"{GROUP}/attempt", f"{GROUP}/round"
DRIVER = f"{GROUP}/driver"
"""Marks the pod whose log reports the step's events."""
RAY = f"{GROUP}/ray"
REACH_EXCHANGE, REACH_PRIVATE = f"{GROUP}/reach-exchange", f"{GROUP}/reach-private"
REACH_HUB, REACH_DNS = f"{GROUP}/reach-hub", f"{GROUP}/reach-dns"
ACCEPT_KEYS = f"{GROUP}/accept-keys"
"""On an OffsitePeer: the fingerprint of new keys that the previous keys did not sign."""
QUEUE = "kueue.x-k8s.io/queue-name"

_LONGEST = 47
"""Leaves room for the suffixes that KubeRay appends to a RayJob's name."""


def child_name(job: str, uid: str, mark: str, step: Step) -> str:
    """Compute the name of a job's child. Deterministic.

    Args:
        mark: Distinguishes children of one step, for example the attempt number.
    """
    tail = f"-{uid[:6]}-{mark}-{step[0].lower()}"
    # a RayJob becomes a Service, whose name starts with a letter
    head = job if job[0].isalpha() else f"j{job}"
    return head[: _LONGEST - len(tail)].rstrip("-") + tail


def child_labels(job: str, uid: str, attempt: int, round_: int, step: Step) -> dict[str, str]:
    """Return the labels of a child and of its pods."""
    return {
        MANAGED_BY: MANAGER,
        JOB: job,
        JOB_UID: uid,
        STEP: step.lower(),
        ATTEMPT: str(attempt),
        ROUND: str(round_),
    }
