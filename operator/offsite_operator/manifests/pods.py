"""Builds pods that pass PodSecurity `restricted`, without access to the Kubernetes API."""

from collections.abc import Sequence
from typing import Any

from offsite.events import EVENT_MARK
from offsite.mounts import SESSION, TASK
from offsite_operator.labels import DRIVER, REACH_DNS, REACH_EXCHANGE, REACH_HUB, REACH_PRIVATE
from offsite_operator.manifests.plan import ChildPlan
from offsite_operator.manifests.volumes import (
    Volume,
    environment,
    lender_environment,
    lender_volumes,
    volumes,
)
from offsite_operator.quantity import amount

Manifest = dict[str, Any]

USER = 10001
SECURITY: Manifest = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}
_RAY_MEMORY = 2 << 30
"""Memory in bytes that Ray's processes and the driver use in the head, beside the training."""
_GRACE_SECONDS = 60
"""Time after SIGTERM for writing a checkpoint."""
COMMAND = ("python", "-m", "offsite", "run", "--task", TASK)
LEND = ("python", "-m", "offsite", "lend", "--task", TASK, "--to", SESSION)


def step_pod(plan: ChildPlan) -> Manifest:
    """Describe the pod of a step that runs as a Job."""
    return {
        "metadata": pod_metadata(plan, pod_labels(plan) | {DRIVER: "true"}),
        "spec": pod_spec(plan, step_container(plan), volumes(plan)) | {"restartPolicy": "Never"},
    }


def step_container(plan: ChildPlan, *command: str, name: str = "step") -> Manifest:
    """Describe the main container of a step.

    Args:
        command: Default: the step, in process.
    """
    made = container(plan, name, resources(plan), volumes(plan))
    return {**made, "command": [*(command or COMMAND)], "env": environment(plan)}


def container(plan: ChildPlan, name: str, needs: Manifest, seen: Sequence[Volume]) -> Manifest:
    """Describe a container without privileges."""
    return {
        "name": name,
        "image": plan.image,
        "imagePullPolicy": plan.settings.pull_policy,
        "securityContext": SECURITY,
        "resources": needs,
        "volumeMounts": [volume.mount for volume in seen],
    }


def _lender(plan: ChildPlan) -> Manifest:
    """Describe the init container that obtains session credentials of the private store.

    Only this container holds the account, and it runs the operator's image.
    """
    made = container(plan, "session", small(), lender_volumes(plan))
    made |= {"image": plan.settings.images.operator, "command": [*LEND]}
    # its failure is reported only here: the log of the step is the other container's
    return made | {
        "env": lender_environment(plan),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def pod_spec(plan: ChildPlan, main: Manifest, seen: Sequence[Volume]) -> Manifest:
    """Describe what a pod of a step runs, and where."""
    runtime, settings = plan.spec.runtime, plan.settings
    spec: Manifest = {
        "automountServiceAccountToken": False,
        "serviceAccountName": settings.service_account,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [main],
    }
    if any(volume.path == SESSION for volume in seen):
        spec["initContainers"] = [_lender(plan)]
        seen = (*seen, *lender_volumes(plan))
    spec["volumes"] = list({volume.name: volume.volume for volume in seen}.values())
    if settings.pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in settings.pull_secrets]
    if not plan.keyed:
        spec |= _placement(plan)
    if runtime.priority_class_name:
        spec["priorityClassName"] = runtime.priority_class_name
    return spec


def _placement(plan: ChildPlan) -> Manifest:
    """Return the scheduling constraints of training pods; small steps have none."""
    runtime = plan.spec.runtime
    wire = (each.model_dump(by_alias=True, exclude_none=True) for each in runtime.tolerations)
    found: Manifest = {"nodeSelector": dict(runtime.node_selector), "tolerations": list(wire)}
    return {key: value for key, value in found.items() if value}


def resources(plan: ChildPlan) -> Manifest:
    """Return the resources of a step's pod: what its job requests, plus what Ray uses."""
    if plan.auxiliary:
        return small()
    if plan.keyed:
        return _resources("100m", "1Gi", "2")
    asked = plan.spec.resources
    gpus = {plan.settings.gpu_resource: str(asked.gpus_per_worker)}
    cpus = str(asked.cpus_per_worker)
    memory, most_cpus = asked.memory_per_worker, cpus
    if plan.engine == "RayJob":
        memory = str(int(amount(memory)) + _RAY_MEMORY)
        most_cpus = str(asked.cpus_per_worker + 1)
    needs = _resources(cpus, memory, most_cpus)
    if asked.gpus_per_worker:
        needs = {kind: given | gpus for kind, given in needs.items()}
    return needs


def small() -> Manifest:
    """Return the resources of a pod that waits or handles little data."""
    return _resources("50m", "512Mi", "1")


def _resources(cpu: str, memory: str, most_cpu: str) -> Manifest:
    return {
        "requests": {"cpu": cpu, "memory": memory},
        "limits": {"cpu": most_cpu, "memory": memory},
    }


def pod_metadata(plan: ChildPlan, labels: dict[str, str]) -> Manifest:
    """Return a pod's labels and its event mark, which log readers look up in the annotations."""
    return {"labels": labels, "annotations": {EVENT_MARK: plan.mark}}


def pod_labels(plan: ChildPlan) -> dict[str, str]:
    """Return the labels by which NetworkPolicies allow a pod's egress.

    DNS is allowed only where names must be resolved: a query leaves the cluster, and could carry
    data in the name.
    """
    stored = plan.settings.private.claim is None and not plan.auxiliary
    reach = {
        REACH_EXCHANGE: plan.keyed,
        REACH_PRIVATE: stored,
        REACH_HUB: plan.reaches_hub,
        REACH_DNS: plan.keyed or stored or plan.reaches_hub,
    }
    return plan.labels | {label: "true" for label, reaches in reach.items() if reaches}
