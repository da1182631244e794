"""What a cluster knows of a test that failed: events, pods, logs, what was asked of the API."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from cluster.access import Cluster
from cluster.kuberay import NAMESPACE as KUBERAY
from cluster.namespaces import Namespace

_DESCRIBED = ("pods", "jobs", "persistentvolumeclaims", "rayjobs,rayclusters")
_TAIL = 80
_AUDITED = 40
_COMPONENT_TAIL = 20


def report(cluster: Cluster, spaces: Iterable[Namespace]) -> Iterator[tuple[str, str]]:
    """Collect it, as titles and texts. What cannot be had says why, and hides nothing else."""
    for space in spaces:
        yield f"{space.name}: events", _told(_events, space)
        for kinds in _DESCRIBED:
            yield f"{space.name}: {kinds}", _told(_ask, space, "describe", kinds)
        yield from _logs(space)
        yield f"{space.name}: audit log", _told(_audit, cluster, space)
    operator = Namespace(cluster, KUBERAY), "deployment/kuberay-operator"
    yield "log of the KubeRay operator", _told(_log, *operator)
    yield from _components(cluster)


def _events(space: Namespace) -> str:
    return _ask(space, "get", "events", "--sort-by=.lastTimestamp")


def _logs(space: Namespace) -> Iterator[tuple[str, str]]:
    listed = _told(_ask, space, "get", "pods", "--output=name")
    for name in (line for line in listed.splitlines() if line.startswith("pod/")):
        yield f"{space.name}: log of {name}", _told(_log, space, name)


def _log(space: Namespace, what: str) -> str:
    return _ask(space, "logs", what, "--all-containers", "--prefix", f"--tail={_TAIL}")


def _ask(space: Namespace, *arguments: str) -> str:
    # the cluster may be what failed
    return space.kubectl("--request-timeout=10s", *arguments)


def _audit(cluster: Cluster, space: Namespace) -> str:
    if cluster.node is None:
        return "of another cluster its administrator has it"
    found = [
        f"{event['requestReceivedTimestamp']} {event['user']['username']} {event['verb']} "
        f"{event['requestURI']} {event.get('responseStatus', {}).get('code')}"
        for event in map(json.loads, _whole_lines(cluster.node.audit_log))
        if event.get("objectRef", {}).get("namespace") == space.name
    ]
    return "\n".join(found[-_AUDITED:])


def _whole_lines(path: Path) -> list[str]:
    """Read what is being written: the last line may be torn."""
    return path.read_text("utf-8").split("\n")[:-1]


def _components(cluster: Cluster) -> Iterator[tuple[str, str]]:
    if cluster.node is None:
        return
    for path in sorted((cluster.node.folder / "log").glob("*.log")):
        if path != cluster.node.audit_log:
            yield f"log of {path.stem}", _told(_end, path)


def _end(path: Path) -> str:
    return "\n".join(_whole_lines(path)[-_COMPONENT_TAIL:])


def _told(ask: Callable[..., str], *arguments: object) -> str:
    try:
        return ask(*arguments)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
