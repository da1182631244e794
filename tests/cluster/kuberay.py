"""KubeRay in a cluster, from the manifests of its own module."""

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory

from cluster.access import Cluster
from cluster.archive import image_of
from cluster.binaries import kuberay, kuberay_manifests

NAMESPACE = "kuberay-system"
_IMAGE = "localhost/kuberay:1"
_CONTAINER = "/spec/template/spec/containers/0"
_CHANGES = [
    {"op": "replace", "path": f"{_CONTAINER}/image", "value": _IMAGE},
    {"op": "replace", "path": f"{_CONTAINER}/command", "value": ["/program"]},
    # the image names no user, and a tenth of a core makes everything wait for it
    {"op": "add", "path": "/spec/template/spec/securityContext/runAsUser", "value": 10001},
    {"op": "remove", "path": f"{_CONTAINER}/resources/limits/cpu"},
]
"""What our image of it has otherwise than its makers'."""


def install(cluster: Cluster) -> None:
    """Install KubeRay in a node of ours, and wait until it runs. Another cluster has its own.

    Raises:
        RuntimeError: the cluster does not take it, or has none.
    """
    if cluster.node is None:
        if not cluster.kubectl("get", "crd", "rayjobs.ray.io", "--ignore-not-found"):
            raise RuntimeError("the cluster has no KubeRay: install it, or deselect what needs it")
        return
    with TemporaryDirectory() as folder:
        archive = Path(folder) / "image.tar"
        cluster.node.load_image(image_of(kuberay(), _IMAGE, archive))
        archive.unlink()
        overlay = {
            "resources": [os.path.relpath(kuberay_manifests() / "default", folder)],
            "namespace": NAMESPACE,
            "patches": [{"target": {"kind": "Deployment"}, "patch": json.dumps(_CHANGES)}],
        }
        (Path(folder) / "kustomization.yaml").write_text(json.dumps(overlay), encoding="utf-8")
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "--kustomize", folder)
    options = (f"--namespace={NAMESPACE}", "--timeout=120s")
    cluster.kubectl("rollout", "status", "deployment/kuberay-operator", *options)
