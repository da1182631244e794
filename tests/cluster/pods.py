"""Pods that PodSecurity's `restricted` lets through, as manifests."""

from collections.abc import Mapping
from typing import Any

from cluster.addons import GPU

SECURITY: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def container(
    image: str, *command: str, name: str = "main", gpus: int = 0, memory: str = "128Mi", **more: Any
) -> dict[str, Any]:
    """Describe a container without any right; `/tmp` is its only place to write.

    Args:
        command: what it runs; none: what the image says.
    """
    limits = {"memory": memory, **({GPU: str(gpus)} if gpus else {})}
    return {
        "name": name,
        "image": image,
        **({"command": list(command)} if command else {}),
        "imagePullPolicy": "IfNotPresent",
        "securityContext": SECURITY,
        "resources": {"requests": {"cpu": "50m", **limits}, "limits": limits},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, *more.pop("mounts", [])],
        **more,
    }


def pod_spec(*containers: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Describe what a pod of such containers runs; it gets no token of the API."""
    return {
        "automountServiceAccountToken": False,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "containers": list(containers),
        "volumes": [{"name": "tmp", "emptyDir": {}}, *more.pop("volumes", [])],
        **more,
    }


def pod(name: str, *containers: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Describe a pod; its label `app` is its name."""
    metadata = {"name": name, "labels": {"app": name}}
    spec = pod_spec(*containers, **more)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def job(
    name: str, *containers: dict[str, Any], pod: Mapping[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """Describe a Job that runs a pod to its end, once for each of its completions.

    Args:
        pod: more of what the pod is; `more` is of the Job.
    """
    spec = pod_spec(*containers, **(pod or {}))
    template = {"metadata": {"labels": {"app": name}}, "spec": spec}
    described = {"backoffLimit": 0, "template": template, **more}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": described}
