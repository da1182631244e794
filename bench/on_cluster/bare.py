"""A RayJob as somebody writes one who has no operator: the same work, and no more.

Its probes, its submitter's command and whatever else is not said here are KubeRay's own.
"""

from typing import Any

from cluster.access import Manifest
from cluster.images import RUNTIME
from cluster.namespaces import Namespace
from cluster.organizations import CLAIM
from cluster.pods import container, pod_spec
from cluster.stages import NEEDS, Spec
from offsite.api import OffsiteJob
from offsite.task import WorkTask, write_task

_MEMORY = "3Gi"
"""As a Work step gets that asks for 1Gi: Ray takes its share."""
_TASK = "/etc/offsite/task"


def bare_rayjob(space: Namespace, name: str, spec: Spec) -> list[Manifest]:
    """Describe the work of a Distill job as a RayJob, with the ConfigMap of its task.

    Args:
        spec: the OffsiteJob's.
    """
    metadata = {"name": name}
    task = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    ray = {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": metadata}
    image = space.cluster.image(RUNTIME)
    described = {
        "entrypoint": f"python -m offsite run --task {_TASK}/task.json --ray",
        "shutdownAfterJobFinishes": True,
        "submitterPodTemplate": {"spec": _submitter(image)},
        "rayClusterSpec": {"headGroupSpec": _head(image, name)},
    }
    return [{**task, "data": {"task.json": _task(name, spec)}}, {**ray, "spec": described}]


def _task(name: str, spec: Spec) -> str:
    kind: dict[str, Any] = {"apiVersion": "offsite-tuning.dev/v1alpha1", "kind": "OffsiteJob"}
    task = WorkTask(
        uid=name,
        party="lab",
        peer_id="hospital",
        private="file:///private/offsite",
        job=OffsiteJob.model_validate(kind | {"metadata": {"name": name}, "spec": spec}),
    )
    return write_task(task)


def _submitter(image: str) -> Manifest:
    main = container(image, name="ray-job-submitter", memory="512Mi")
    return pod_spec(main)


def _head(image: str, name: str) -> Manifest:
    cpus = str(NEEDS["cpusPerWorker"])
    mounts = [
        {"name": "given", "mountPath": "/private"},
        {"name": "given", "mountPath": f"/mnt/claims/{CLAIM}", "readOnly": True},
        {"name": "task", "mountPath": _TASK, "readOnly": True},
        {"name": "shm", "mountPath": "/dev/shm"},
    ]
    main = container(image, name="ray-head", memory=_MEMORY, mounts=mounts)
    main["resources"] = {
        "requests": {"cpu": cpus, "memory": _MEMORY},
        "limits": {"cpu": str(NEEDS["cpusPerWorker"] + 1), "memory": _MEMORY},
    }
    volumes = [
        {"name": "given", "persistentVolumeClaim": {"claimName": CLAIM}},
        {"name": "task", "configMap": {"name": name}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": NEEDS["memoryPerWorker"]}},
    ]
    spec = pod_spec(main, volumes=volumes, securityContext={"fsGroup": 10001})
    return {"rayStartParams": {"num-cpus": cpus}, "template": {"spec": spec}}
