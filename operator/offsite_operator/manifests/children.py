"""Builds the objects of a plan: a ConfigMap with the task, and a Job or RayJob."""

from dataclasses import dataclass

from offsite.apiversion import API_VERSION
from offsite.task import write_task
from offsite_operator.labels import QUEUE
from offsite_operator.manifests.plan import ChildPlan
from offsite_operator.manifests.pods import Manifest, step_pod
from offsite_operator.manifests.rayjob import ray_spec
from offsite_operator.observe.model import Engine

_VERSIONS: dict[Engine, str] = {"Job": "batch/v1", "RayJob": "ray.io/v1"}


@dataclass(frozen=True)
class NewChild:
    """The objects to create, in this order."""

    task: Manifest
    child: Manifest

    @property
    def name(self) -> str:
        """The name of both objects."""
        return str(self.child["metadata"]["name"])

    @property
    def kind(self) -> Engine:
        """The kind of the child."""
        kind: Engine = self.child["kind"]
        return kind


def new_child(plan: ChildPlan) -> NewChild:
    """Describe the objects of one attempt at one step. The OffsiteJob owns them."""
    owner = {
        "apiVersion": API_VERSION,
        "kind": "OffsiteJob",
        "name": plan.job,
        "uid": plan.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    metadata = {"name": plan.name, "labels": plan.labels, "ownerReferences": [owner]}
    task = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {"task.json": write_task(plan.task())},
    }
    return NewChild(task, _child(plan, metadata))


def _child(plan: ChildPlan, metadata: Manifest) -> Manifest:
    labels = dict(plan.labels)
    if plan.spec.runtime.queue and not plan.keyed:
        labels[QUEUE] = plan.spec.runtime.queue
    return {
        "apiVersion": _VERSIONS[plan.engine],
        "kind": plan.engine,
        "metadata": {**metadata, "labels": labels},
        "spec": ray_spec(plan) if plan.engine == "RayJob" else _job_spec(plan),
    }


def _job_spec(plan: ChildPlan) -> Manifest:
    """Describe a Job with one pod. The operator retries steps; auxiliary steps use the Job's
    retries.
    """
    bounds = {"backoffLimit": 2, "activeDeadlineSeconds": 600} if plan.auxiliary else plan.backstop
    return {
        "backoffLimit": 0,
        "completions": 1,
        "parallelism": 1,
        "podReplacementPolicy": "Failed",
        "template": step_pod(plan),
        **bounds,
    }
