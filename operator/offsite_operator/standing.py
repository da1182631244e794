"""Which Warning events of a child still stand: what is over stays in the API server for an hour."""

from collections.abc import Iterable, Sequence

from offsite_operator.api import Object
from offsite_operator.diagnosis import is_about_volumes, is_refusal
from offsite_operator.reading import told_at


def standing(warnings: Iterable[Object], since: str, pods: Sequence[Object]) -> list[Object]:
    """Leave out what is over, or was of another child of the same name; the newest last.

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
