"""What a cluster needs beyond its components: DNS, volumes, and GPUs that can be counted."""

import json
from pathlib import Path
from typing import Any

from cluster import binaries
from cluster.archive import image_of
from cluster.components import NODE_NAME
from cluster.mounts import NODE
from cluster.node import Node

GPU = "nvidia.com/gpu"
GPUS = 4
"""As many as the node pretends to have: enough for quota and scheduling, not for training."""

IMAGES = {"localhost/pause:1": binaries.pause, "localhost/coredns:1": binaries.coredns}
"""The images that every node has, and the program that each holds."""

_MANIFESTS = Path("config", "manifests")
_VOLUMES = 32
_VOLUME_SIZE = "10Gi"
_PATIENCE = "--timeout=60s"


def install(node: Node) -> None:
    """Install all of it in a node that has just started, and wait until it is ready."""
    for image, program in IMAGES.items():
        _load(node, image, program())
    node.kubectl("apply", "--filename", str(node.folder / _MANIFESTS))
    node.kubectl("apply", "--filename", "-", given=_volumes(node))
    node.kubectl("wait", "--for=create", f"node/{NODE_NAME}", _PATIENCE)
    advertise_gpus(node)
    node.kubectl("wait", "--for=condition=Ready", f"node/{NODE_NAME}", _PATIENCE)
    node.kubectl("wait", "--for=create", "--namespace=default", "serviceaccount/default", _PATIENCE)
    node.kubectl("rollout", "status", "--namespace=kube-system", "deployment/coredns", _PATIENCE)


def advertise_gpus(node: Node) -> None:
    """Say that the node has GPUs.

    The kubelet keeps what it does not know in its status, until it is started anew.
    """
    path = f"capacity/{GPU.replace('/', '~1')}"
    patch = [{"op": "add", "path": f"/status/{path}", "value": str(GPUS)}]
    options = ("--subresource=status", "--type=json", "--patch", json.dumps(patch))
    node.kubectl("patch", "node", NODE_NAME, *options)
    node.kubectl(
        "wait",
        f"node/{NODE_NAME}",
        f"--for=jsonpath={{.status.allocatable.nvidia\\.com/gpu}}={GPUS}",
        _PATIENCE,
    )


def _load(node: Node, image: str, program: Path) -> None:
    archive = node.folder / "image.tar"
    node.load_image(image_of(program, image, archive))
    archive.unlink()


def _volumes(node: Node) -> str:
    """Make the folders of the volumes; describe them."""
    names = [f"local-{number:02}" for number in range(_VOLUMES)]
    for name in names:
        (node.folder / "volumes" / name).mkdir(parents=True)
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [_volume(n) for n in names]})


def _volume(name: str) -> dict[str, Any]:
    only_here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE_NAME]}
    terms = [{"matchExpressions": [only_here]}]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": _VOLUME_SIZE},
            "local": {"path": str(NODE / "volumes" / name)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": terms}},
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "local",
        },
    }
