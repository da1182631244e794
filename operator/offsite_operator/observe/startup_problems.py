"""Why a child does not start, from its pods and the Warning events of all its objects.

A wrong image or spec fails at once; a shortage waits, and says so.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from offsite_operator.labels import Object
from offsite_operator.observe.job_states import instant
from offsite_operator.observe.model import StartupProblem
from offsite_operator.observe.quota import exceeded, remedy_for
from offsite_operator.observe.snapshot import told_at
from offsite_operator.observe.terminations import Container, Pod, before, how

Warned = Mapping[str, Any]
"""A core/v1 Event."""

_LASTING_SECONDS = 60.0
"""From the first failure of a pull, or a start, until one that still fails never succeeds."""
_AWAY = re.compile(
    r"time(d )?out|deadline exceeded|connection reset|broken pipe|(?-i:\bEOF\b)|i/o error|"
    r"no route to host|network is unreachable|server misbehaving|try again|too ?many ?requests|"
    r"\b50[0234] |reserve container name",
    re.IGNORECASE,
)
"""Parts of messages that point at a network, registry or runtime which may recover."""
_NEVER = {
    "InvalidImageName": "ImagePullFailed",
    "ErrImageNeverPull": "ImagePullFailed",
    "CreateContainerConfigError": "InvalidPod",
}
"""Reasons for which a container waits in vain, and what we call them."""
_PULLING = ("ErrImagePull", "ImagePullBackOff", "RegistryUnavailable")
_STARTING = ("CreateContainerError", "RunContainerError")
_REFUSED, _VOLUMES = ("FailedCreate", "FailedToCreate"), ("FailedMount", "FailedAttachVolume")
_MOUNTS = (
    ("non-existent secret key", "; add it to the Secret that the chart's values name for that"),
    ('secret "', "; make it, or name another one in the chart's values"),
)
"""Parts of a FailedMount message, and the remedy. The pod then starts by itself."""
_MOST_RESTARTS = 3
"""Of a container that ends as soon as it starts, until one more is in vain."""
_SCHEDULING = (
    ("Insufficient", "; ask for less in spec.resources, or have a node added; till then it waits"),
    ("persistentvolumeclaim", "; make that claim, or name another one in the spec"),
    ("affinity/selector", "; correct spec.runtime.nodeSelector, or have a node labelled so"),
    ("untolerated taint", "; name the taint in spec.runtime.tolerations"),
)
"""Parts of the message of an unschedulable pod, and the remedy. The first match counts."""
_PREEMPTION = re.compile(r"\.?( no new claims to deallocate,)? preemption: .*")
"""In that message: what else the scheduler tried, which helps nobody."""
_NO_CLASS = "no PriorityClass with name"
_FORBIDDEN = (
    *("violates PodSecurity", "is invalid", "per Container", "per Pod", "must specify"),
    _NO_CLASS,
)
"""In the message of a FailedCreate: no pod of this kind is ever let in."""


def trouble(
    pods: Sequence[Pod], warnings: Sequence[Warned], gpu: str, now: datetime, workers: int = 1
) -> StartupProblem | None:
    """Find what keeps a child from starting; the worst first.

    Args:
        pods: of the child.
        warnings: of the child, its pods and what else it made; the newest last.
        gpu: the name of the GPU resource.
        workers: pods of the child that train together.
    """
    found = [
        *_in_containers(pods, warnings, now),
        *_in_scheduling(pods, gpu),
        *_in_warnings(warnings, workers),
    ]
    return next((t for t in found if t.fatal), found[0] if found else None)


def is_refusal(warning: Warned) -> bool:
    """Whether a pod was not let in."""
    return str(warning.get("reason", "")).startswith(_REFUSED)


def is_about_volumes(warning: Warned) -> bool:
    """Whether a volume was not to be had."""
    return str(warning.get("reason", "")).startswith(_VOLUMES)


def _in_containers(
    pods: Sequence[Pod], warnings: Sequence[Warned], now: datetime
) -> Iterator[StartupProblem]:
    for pod in pods:
        status = pod.get("status", {})
        pulls, starts = _pulls_fail(pod, warnings), _starts_fail(warnings)
        for container in (
            *status.get("initContainerStatuses", ()),
            *status.get("containerStatuses", ()),
        ):
            yield from _crashing(container)
            waiting = container.get("state", {}).get("waiting")
            if waiting:
                since = pulls if waiting.get("reason") in _PULLING else starts
                yield from _waiting(container, waiting, now - (since or now))


def _crashing(container: Container) -> Iterator[StartupProblem]:
    """Tell of a container that ended and was started again, if it is not well since."""
    ended = before(container)
    if ended and not container.get("ready"):
        waits = container.get("state", {}).get("waiting", {}).get("reason") == "CrashLoopBackOff"
        said = (
            f"a container of {container.get('image')} keeps ending: {how(container['name'], ended)}"
        )
        yield StartupProblem(
            "PodCrashes", said, waits and container["restartCount"] >= _MOST_RESTARTS
        )


def _waiting(
    container: Container, waiting: Mapping[str, str], failing: timedelta
) -> Iterator[StartupProblem]:
    reason, said = waiting.get("reason", ""), waiting.get("message", "")
    image, away = container.get("image", ""), _AWAY.search(said) is not None
    lasts = failing.total_seconds() >= _LASTING_SECONDS and not away
    if reason in _PULLING:
        message = f"the image {image} cannot be pulled: {said or reason}; check its name, and the "
        fatal = lasts and reason != "RegistryUnavailable"
        yield StartupProblem("ImagePullFailed", f"{message}pull secrets of the chart", fatal)
    elif reason in _NEVER or reason in _STARTING:
        message = f"the container {container.get('name')} of {image} cannot start: {said or reason}"
        fatal = lasts if reason in _STARTING else True
        yield StartupProblem(_NEVER.get(reason, "InvalidPod"), message, fatal)


def _pulls_fail(pod: Pod, warnings: Sequence[Warned]) -> datetime | None:
    """Say since when pulls fail: a pod may wait long for its node, and a large image take long."""
    told = (w.get("firstTimestamp") for w in warnings if "Failed to pull" in w.get("message", ""))
    conditions = pod.get("status", {}).get("conditions", ())
    scheduled = (c for c in conditions if c["type"] == "PodScheduled" and c["status"] == "True")
    known = [*told, *(c.get("lastTransitionTime") for c in scheduled)]
    return next((at for each in known if (at := instant(each))), None)


def _starts_fail(warnings: Sequence[Warned]) -> datetime | None:
    """Say since when the container runtime fails; a kubelet gets over most of that by itself."""
    failed = (w for w in warnings if w.get("reason") == "Failed")
    told = (w for w in failed if w.get("message", "").startswith("Error: "))
    since = (w.get("firstTimestamp") for w in told if "ImagePull" not in w["message"])
    return next((at for each in since if (at := instant(each))), None)


def _in_scheduling(pods: Sequence[Pod], gpu: str) -> Iterator[StartupProblem]:
    for pod in pods:
        for condition in pod.get("status", {}).get("conditions", ()):
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                said = _PREEMPTION.sub("", condition.get("message", ""))
                short = f"not enough {gpu}: " if f"Insufficient {gpu}" in said else ""
                remedy = remedy_for(said, _SCHEDULING)
                takes = "has room for" if "Insufficient" in said else "takes"
                message = f"no node {takes} its pod: {short}{said}{remedy}"
                yield StartupProblem("Unschedulable", message)


def _in_warnings(warnings: Sequence[Warned], workers: int) -> Iterator[StartupProblem]:
    for event in reversed(warnings):
        said = str(event.get("message", ""))
        if is_about_volumes(event):
            remedy = remedy_for(said, _MOUNTS)
            yield StartupProblem(
                "FailedMount", f"a volume of its pod cannot be mounted: {said}{remedy}"
            )
        elif "exceeded quota" in said:
            told = exceeded(said, workers)
            yield StartupProblem(
                "QuotaExceeded", f"the namespace's quota leaves no room for it: {told}"
            )
        elif is_refusal(event):
            fatal = any(each in said for each in _FORBIDDEN)
            remedy = "; correct spec.runtime.priorityClassName" if _NO_CLASS in said else ""
            yield StartupProblem("InvalidPod", f"its pod is not let in: {said}{remedy}", fatal)


def standing(warnings: Iterable[Object], since: str, pods: Sequence[Object]) -> list[Object]:
    """Drop Events that are resolved, or belong to an earlier child of the same name; newest last.

    Args:
        since: when the child was created.
        pods: of the child.
    """
    newest = max((pod["metadata"]["creationTimestamp"] for pod in pods), default=since)
    mounted = {pod["metadata"]["name"] for pod in pods if _has_its_volumes(pod)}

    def stands(event: Object) -> bool:
        at, about = told_at(event), event["involvedObject"].get("name")
        if is_refusal(event) and pods:
            return at > newest  # else one was let in after that
        return at >= since and not (is_about_volumes(event) and about in mounted)

    return sorted(filter(stands, warnings), key=told_at)


def _has_its_volumes(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return any(
        c["type"] == "PodReadyToStartContainers" and c["status"] == "True" for c in conditions
    )
