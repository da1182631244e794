"""A MinIO in a cluster, on a volume: what an exchange is made of."""

import re
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from cluster.access import Manifest
from cluster.images import MINIO
from cluster.namespaces import Namespace
from cluster.pods import container, pod_spec
from offsite.store.s3 import S3Store

_PORT = 9000
_LABELS = {"app": "minio"}


@dataclass(frozen=True)
class MinioPod:
    """A MinIO that runs as the one pod of a StatefulSet."""

    space: Namespace
    endpoint: str
    """Where we reach it, through the API server."""
    user: str
    password: str = field(repr=False)

    @property
    def inside(self) -> str:
        """Where pods of the cluster reach it."""
        return f"http://minio.{self.space.name}.svc.cluster.local:{_PORT}"

    def store(self, bucket: str) -> S3Store:
        """Give a bucket, as its administrator."""
        return S3Store(self.endpoint, bucket, self.user, self.password)


@contextmanager
def running_minio(space: Namespace) -> Iterator[MinioPod]:
    """Run a MinIO in a namespace while the `with` block runs."""
    user, password = secrets.token_hex(8), secrets.token_hex(16)
    space.apply(*_manifests(space.cluster.image(MINIO), user, password))
    space.kubectl("rollout", "status", "statefulset/minio", "--timeout=120s")
    with forwarded(space, "service/minio", _PORT) as port:
        yield MinioPod(space, f"http://127.0.0.1:{port}", user, password)


@contextmanager
def forwarded(space: Namespace, what: str, port: int) -> Iterator[int]:
    """Reach a port of a pod on the loopback; gives the port there."""
    command = ("port-forward", f"--namespace={space.name}", what, f":{port}")
    with (
        NamedTemporaryFile("w+") as told,
        space.cluster.start(*command, told=told) as process,
    ):
        try:
            yield _port_in(Path(told.name), process)
        finally:
            process.terminate()


def _port_in(told: Path, process: subprocess.Popen[bytes]) -> int:
    """Wait until kubectl prints the port that it listens on."""
    while (found := re.search(r"127\.0\.0\.1:(\d+)", told.read_text())) is None:
        if process.poll() is not None:
            raise RuntimeError(f"the port cannot be forwarded: {told.read_text()}")
        time.sleep(0.05)
    return int(found[1])


def _manifests(image: str, user: str, password: str) -> list[Manifest]:
    keys = {"MINIO_ROOT_USER": user, "MINIO_ROOT_PASSWORD": password, "MINIO_BROWSER": "off"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "minio"}}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "minio"}}
    ports = [{"port": _PORT, "targetPort": _PORT}]
    stateful = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "minio"}}
    return [
        {**secret, "stringData": keys},
        {**service, "spec": {"selector": _LABELS, "ports": ports}},
        {**stateful, "spec": _stateful(image)},
    ]


def _stateful(image: str) -> dict[str, Any]:
    ready = {"httpGet": {"path": "/minio/health/ready", "port": _PORT}, "periodSeconds": 1}
    server = container(
        image,
        memory="512Mi",
        envFrom=[{"secretRef": {"name": "minio"}}],
        readinessProbe=ready,
        mounts=[{"name": "data", "mountPath": "/data"}],
    )
    spec = pod_spec(server, restartPolicy="Always", securityContext={"fsGroup": 10001})
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
    }
    return {
        "serviceName": "minio",
        "selector": {"matchLabels": _LABELS},
        "template": {"metadata": {"labels": _LABELS}, "spec": spec},
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}],
    }
