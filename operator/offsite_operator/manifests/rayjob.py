"""Builds the RayJob of a Work step: training pods, and a submitter that logs the driver's output.

The head is one of the workers, so a job with one worker has one training pod.

It uses K8sJobMode with its own submitter pod: the pods of KubeRay's other modes fail PodSecurity
`restricted`, or lose the driver's log. KubeRay retries nothing; the operator manages the attempts.

Anyone who can connect to Ray can run code in it. Ray therefore requires a token, which KubeRay
generates for each cluster and passes to its pods in a Secret. KubeRay before 1.5.1 ignores the
option.
"""

from collections.abc import Sequence
from typing import Any

from offsite_operator.labels import DRIVER, RAY, REACH_DNS
from offsite_operator.manifests.plan import ChildPlan
from offsite_operator.manifests.pods import (
    COMMAND,
    Manifest,
    container,
    pod_labels,
    pod_metadata,
    pod_spec,
    small,
    step_container,
)
from offsite_operator.manifests.volumes import scratch, volumes

_HEALTHY = (
    "wget --tries 1 --timeout 5 --quiet --output-document - http://127.0.0.1:{} | grep -q success"
)
_RAYLET, _GCS = "52365/api/local_raylet_healthz", "8265/api/gcs_healthz"
RAY_VERSION = "2.60.0"
"""Version of the runtime image. KubeRay reads it to check that Ray supports tokens."""
_OBJECT_STORE_BYTES = 256 << 20
"""Workers send the driver little data: events, and references to checkpoints."""
_BY_NAME = {REACH_DNS: "true"}
"""Submitter and workers resolve the head's Service; the head resolves no names."""
_SUBMITTER_RETRIES = 3
"""The submitter may start before the dashboard is ready."""


def ray_spec(plan: ChildPlan) -> Manifest:
    """Describe the spec of a RayJob."""
    return {
        "submissionMode": "K8sJobMode",
        "entrypoint": " ".join((*COMMAND, "--ray")),
        "shutdownAfterJobFinishes": True,
        "backoffLimit": 0,
        **plan.backstop,
        "submitterConfig": {"backoffLimit": _SUBMITTER_RETRIES},
        "submitterPodTemplate": _submitter(plan),
        "rayClusterSpec": {
            "rayVersion": RAY_VERSION,
            "authOptions": {"mode": "token"},
            "headGroupSpec": _head(plan),
            **_workers(plan),
        },
    }


def _submitter(plan: ChildPlan) -> Manifest:
    # KubeRay sets its command
    main = container(plan, "ray-job-submitter", small(), [scratch(plan)])
    main["env"] = [{"name": "HOME", "value": "/tmp"}, {"name": "PYTHONUNBUFFERED", "value": "1"}]
    labels = plan.labels | {DRIVER: "true", RAY: "submitter"} | _BY_NAME
    spec = pod_spec(plan, main, [scratch(plan)]) | {"restartPolicy": "Never"}
    return {"metadata": pod_metadata(plan, labels), "spec": spec}


def _head(plan: ChildPlan) -> Manifest:
    return {
        "rayStartParams": _start(plan) | {"dashboard-host": "0.0.0.0"},
        "template": _trainer(plan, "head", _RAYLET, _GCS),
    }


def _workers(plan: ChildPlan) -> Manifest:
    """Describe the pods beside the head, if any."""
    beside = plan.spec.resources.workers - 1
    if not beside:
        return {}
    group = {
        "groupName": "worker",
        "replicas": beside,
        "minReplicas": beside,
        "maxReplicas": beside,
        "rayStartParams": _start(plan),
        "template": _trainer(plan, "worker", _RAYLET),
    }
    return {"workerGroupSpecs": [group]}


def _start(plan: ChildPlan) -> dict[str, str]:
    return {
        "num-cpus": str(plan.spec.resources.cpus_per_worker),
        "object-store-memory": str(_OBJECT_STORE_BYTES),
    }


def _trainer(plan: ChildPlan, role: str, *healthy: str) -> Manifest:
    """Describe a training pod, which is healthy while all given endpoints are."""
    main = step_container(plan, name=f"ray-{role}")
    del main["command"]  # KubeRay starts Ray, and Ray starts the entrypoint
    main |= {"readinessProbe": _probe(10, healthy), "livenessProbe": _probe(120, healthy)}
    labels = pod_labels(plan) | {RAY: role} | (_BY_NAME if role == "worker" else {})
    metadata = pod_metadata(plan, labels)
    return {"metadata": metadata, "spec": pod_spec(plan, main, volumes(plan))}


def _probe(failures: int, healthy: Sequence[str]) -> dict[str, Any]:
    """Probe raylet and GCS. A training step may block both for a while."""
    command = " && ".join(_HEALTHY.format(address) for address in healthy)
    return {
        "exec": {"command": ["sh", "-c", command]},
        "initialDelaySeconds": 10,
        "periodSeconds": 5,
        "timeoutSeconds": 15,
        "failureThreshold": failures,
    }
