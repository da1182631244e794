"""Names, labels and annotations of everything that the operator makes."""

from typing import Any

from offsite.apiversion import GROUP
from offsite.resources import Step

Object = dict[str, Any]
"""An object as the API server gives or takes it."""
MANAGER = "offsite-operator"
"""As field manager, and in `app.kubernetes.io/managed-by`."""
MANAGED_BY = "app.kubernetes.io/managed-by"
JOB, JOB_UID = f"{GROUP}/job", f"{GROUP}/job-uid"
STEP, ATTEMPT, ROUND = f"{GROUP}/step", f"{GROUP}/attempt", f"{GROUP}/round"
DRIVER = f"{GROUP}/driver"
"""Of the pod whose log tells how the step goes."""
RAY = f"{GROUP}/ray"
REACH_EXCHANGE, REACH_PRIVATE = f"{GROUP}/reach-exchange", f"{GROUP}/reach-private"
REACH_HUB, REACH_DNS = f"{GROUP}/reach-hub", f"{GROUP}/reach-dns"
ACCEPT_KEYS = f"{GROUP}/accept-keys"
"""On an OffsitePeer: the fingerprint of keys that do not follow those before them."""
QUEUE = "kueue.x-k8s.io/queue-name"

_LONGEST = 47
"""KubeRay adds to the names of RayJobs."""


def child_name(job: str, uid: str, mark: str, step: Step) -> str:
    """Name a child of a job. Whoever computes it, it is the same.

    Args:
        mark: what tells it from others of its step, such as the number of its attempt.
    """
    tail = f"-{uid[:6]}-{mark}-{step[0].lower()}"
    # a RayJob becomes a Service, whose name starts with a letter
    head = job if job[0].isalpha() else f"j{job}"
    return head[: _LONGEST - len(tail)].rstrip("-") + tail


def child_labels(job: str, uid: str, attempt: int, round_: int, step: Step) -> dict[str, str]:
    """Give the labels of a child and of its pods."""
    return {
        MANAGED_BY: MANAGER,
        JOB: job,
        JOB_UID: uid,
        STEP: step.lower(),
        ATTEMPT: str(attempt),
        ROUND: str(round_),
    }
