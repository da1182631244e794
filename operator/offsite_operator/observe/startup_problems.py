"""Explains why a child does not start, from its pods and the Warning events of its objects.

A wrong image or spec fails the job; a shortage is reported while the job waits.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from offsite_operator.labels import Object
from offsite_operator.observe.job_states import instant
from offsite_operator.observe.model import StartupProblem
from offsite_operator.observe.quota import exceeded, remedy_for
from offsite_operator.observe.snapshot import last_reported_at
from offsite_operator.observe.terminations import Container, Pod, before, describe_exit

Warned = Mapping[str, Any]
"""A core/v1 Event."""

_LASTING_SECONDS = 60.0
"""Seconds after which a failing pull or container start counts as permanent."""
_AWAY = re.compile(
    r"time(d )?out|deadline exceeded|connection reset|broken pipe|(?-i:\bEOF\b)|i/o error|"
    r"no route to host|network is unreachable|server misbehaving|try again|too ?many ?requests|"
    r"\b50[0234] |reserve container name",
    re.IGNORECASE,
)
"""Fragments of errors of a network, registry or runtime that may recover."""
_NEVER = {
    "InvalidImageName": "ImagePullFailed",
    "ErrImageNeverPull": "ImagePullFailed",
    "CreateContainerConfigError": "InvalidPod",
}
"""Container reasons that never resolve, and our reason for each."""
_PULLING = ("ErrImagePull", "ImagePullBackOff", "RegistryUnavailable")
_STARTING = ("CreateContainerError", "RunContainerError")
_REFUSED, _VOLUMES = ("FailedCreate", "FailedToCreate"), ("FailedMount", "FailedAttachVolume")
_MOUNTS = (
    ("non-existent secret key", "; add it to the Secret that the chart's values name for that"),
    ('secret "', "; create it, or name another one in the chart's values"),
)
"""Fragments of FailedMount messages, and the remedy. The pod then starts without a retry."""
_MOST_RESTARTS = 3
"""Restarts of a container that fails at once, before the job fails."""
_SCHEDULING = (
    ("Insufficient", "; reduce spec.resources, or add a node; the pod waits until then"),
    ("persistentvolumeclaim", "; create that claim, or name another one in the spec"),
    ("affinity/selector", "; correct spec.runtime.nodeSelector, or label a node accordingly"),
    ("untolerated taint", "; name the taint in spec.runtime.tolerations"),
)
"""Fragments of an unschedulable pod's message, and the remedy. The first match applies."""
_PREEMPTION = re.compile(r"\.?( no new claims to deallocate,)? preemption: .*")
"""The part of that message about preemption, which does not help users."""
_NO_CLASS = "no PriorityClass with name"
_FORBIDDEN = (
    *("violates PodSecurity", "is invalid", "per Container", "per Pod", "must specify"),
    _NO_CLASS,
)
"""Fragments of FailedCreate messages after which a pod like this one is never admitted."""


def startup_problem(
    pods: Sequence[Pod], warnings: Sequence[Warned], gpu: str, now: datetime, workers: int = 1
) -> StartupProblem | None:
    """Find what keeps a child from starting, the most severe problem first.

    Args:
        pods: Pods of the child.
        warnings: Warnings about the child, its pods and other objects of it; newest last.
        gpu: Name of the GPU resource.
        workers: Number of pods that train together.
    """
    found = [
        *_in_containers(pods, warnings, now),
        *_in_scheduling(pods, gpu),
        *_in_warnings(warnings, workers),
    ]
    return next((t for t in found if t.fatal), found[0] if found else None)


def is_refusal(warning: Warned) -> bool:
    """Return whether the API server rejected a pod."""
    return str(warning.get("reason", "")).startswith(_REFUSED)


def is_about_volumes(warning: Warned) -> bool:
    """Return whether a volume could not be attached or mounted."""
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
    """Report a container that was restarted and is not ready."""
    ended = before(container)
    if ended and not container.get("ready"):
        waits = container.get("state", {}).get("waiting", {}).get("reason") == "CrashLoopBackOff"
        detail = (
            f"a container of {container.get('image')} keeps exiting: "
            f"{describe_exit(container['name'], ended)}"
        )
        yield StartupProblem(
            "PodCrashes", detail, waits and container["restartCount"] >= _MOST_RESTARTS
        )


def _waiting(
    container: Container, waiting: Mapping[str, str], failing: timedelta
) -> Iterator[StartupProblem]:
    reason, detail = waiting.get("reason", ""), waiting.get("message", "")
    image, away = container.get("image", ""), _AWAY.search(detail) is not None
    lasts = failing.total_seconds() >= _LASTING_SECONDS and not away
    if reason in _PULLING:
        message = f"cannot pull the image {image}: {detail or reason}; check its name, and the "
        fatal = lasts and reason != "RegistryUnavailable"
        yield StartupProblem("ImagePullFailed", f"{message}pull secrets of the chart", fatal)
    elif reason in _NEVER or reason in _STARTING:
        message = (
            f"the container {container.get('name')} of {image} cannot start: {detail or reason}"
        )
        fatal = lasts if reason in _STARTING else True
        yield StartupProblem(_NEVER.get(reason, "InvalidPod"), message, fatal)


def _pulls_fail(pod: Pod, warnings: Sequence[Warned]) -> datetime | None:
    """Return since when pulls fail. Scheduling and large images take time, which does not count."""
    reported = (
        w.get("firstTimestamp") for w in warnings if "Failed to pull" in w.get("message", "")
    )
    conditions = pod.get("status", {}).get("conditions", ())
    scheduled = (c for c in conditions if c["type"] == "PodScheduled" and c["status"] == "True")
    known = [*reported, *(c.get("lastTransitionTime") for c in scheduled)]
    return next((at for each in known if (at := instant(each))), None)


def _starts_fail(warnings: Sequence[Warned]) -> datetime | None:
    """Return since when container starts fail. The kubelet recovers from most such errors."""
    failed = (w for w in warnings if w.get("reason") == "Failed")
    reported = (w for w in failed if w.get("message", "").startswith("Error: "))
    since = (w.get("firstTimestamp") for w in reported if "ImagePull" not in w["message"])
    return next((at for each in since if (at := instant(each))), None)


def _in_scheduling(pods: Sequence[Pod], gpu: str) -> Iterator[StartupProblem]:
    for pod in pods:
        for condition in pod.get("status", {}).get("conditions", ()):
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                detail = _PREEMPTION.sub("", condition.get("message", ""))
                short = f"not enough {gpu}: " if f"Insufficient {gpu}" in detail else ""
                remedy = remedy_for(detail, _SCHEDULING)
                takes = "has room for" if "Insufficient" in detail else "accepts"
                message = f"no node {takes} its pod: {short}{detail}{remedy}"
                yield StartupProblem("Unschedulable", message)


def _in_warnings(warnings: Sequence[Warned], workers: int) -> Iterator[StartupProblem]:
    for event in reversed(warnings):
        detail = str(event.get("message", ""))
        if is_about_volumes(event):
            remedy = remedy_for(detail, _MOUNTS)
            yield StartupProblem(
                "FailedMount", f"cannot mount a volume of the pod: {detail}{remedy}"
            )
        elif "exceeded quota" in detail:
            reported = exceeded(detail, workers)
            yield StartupProblem(
                "QuotaExceeded", f"the namespace's quota has no room for the pod: {reported}"
            )
        elif is_refusal(event):
            fatal = any(each in detail for each in _FORBIDDEN)
            remedy = "; correct spec.runtime.priorityClassName" if _NO_CLASS in detail else ""
            message = f"the API server rejected the pod: {detail}{remedy}"
            yield StartupProblem("InvalidPod", message, fatal)


def unresolved(warnings: Iterable[Object], since: str, pods: Sequence[Object]) -> list[Object]:
    """Drop Events that are resolved, or belong to an earlier child of the same name; newest last.

    Args:
        since: Creation time of the child.
        pods: Pods of the child.
    """
    newest = max((pod["metadata"]["creationTimestamp"] for pod in pods), default=since)
    mounted = {pod["metadata"]["name"] for pod in pods if _has_its_volumes(pod)}

    def is_unresolved(event: Object) -> bool:
        at, about = last_reported_at(event), event["involvedObject"].get("name")
        if is_refusal(event) and pods:
            return at > newest  # a newer pod was admitted afterwards
        return at >= since and not (is_about_volumes(event) and about in mounted)

    return sorted(filter(is_unresolved, warnings), key=last_reported_at)


def _has_its_volumes(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return any(
        c["type"] == "PodReadyToStartContainers" and c["status"] == "True" for c in conditions
    )
