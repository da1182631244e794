"""A test that fails, so that another sees what is reported of it."""

import os
from collections.abc import Mapping

import pytest

from cluster.namespaces import Namespace
from cluster.pods import container, job, pod_spec

pytestmark = pytest.mark.e2e


def test_fails(kuberay: None, namespace: Namespace) -> None:
    main = container(os.environ["IMAGE"], "python", "-c", "print(1 / 0)")
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    head = pod_spec(container(os.environ["IMAGE"], name="ray-head"), restartPolicy="Always")
    cluster = {"headGroupSpec": {"rayStartParams": {}, "template": {"spec": head}}}
    ray_job = {"entrypoint": "true", "suspend": True, "rayClusterSpec": cluster}
    namespace.apply(
        job("broken", main),
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim"} | described("data", claim),
        {"apiVersion": "ray.io/v1", "kind": "RayJob"} | described("waiting", ray_job),
    )
    namespace.wait("condition=Failed", "job/broken")
    pytest.fail("as it is to")


def described(name: str, spec: Mapping[str, object]) -> dict[str, object]:
    return {"metadata": {"name": name}, "spec": spec}
