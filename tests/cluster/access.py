"""The cluster of the e2e tests: a node of their own, or an existing one."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from cluster.addons import GPU
from cluster.images import Image, build, load, push, reference
from cluster.lifecycle import remove_dead, running_node
from cluster.node import Node
from cluster.processes import BOUND, run

KUBECONFIG, REGISTRY = "OFFSITE_E2E_KUBECONFIG", "OFFSITE_E2E_REGISTRY"
"""The variables that name another cluster, and a registry that it and we reach."""

Manifest = Mapping[str, Any]


@dataclass(frozen=True)
class Cluster:
    """A Kubernetes, and how its administrator reaches it."""

    kubeconfig: Path
    kubectl_path: str
    node: Node | None = None
    """Its only node, if that is our own."""
    registry: str | None = None
    """Where images go that another cluster is to run."""
    spaces: list[str] = field(default_factory=list)
    """The namespaces that were made in it; those that are done with may still be going."""

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        """Run kubectl as the administrator.

        Args:
            given: what it reads on stdin.

        Raises:
            RuntimeError: it failed; the message is its own.
        """
        return run(self._command(*arguments), environment=self.environ, given=given)

    def start(self, *arguments: str, told: IO[str]) -> subprocess.Popen[bytes]:
        """Start a kubectl that goes on until it is ended, or this thread is.

        Args:
            told: the file that it writes to; a pipe that nobody reads would stop it.
        """
        command = [*BOUND, *self._command(*arguments)]
        return subprocess.Popen(command, env=self.environ, stdout=told)

    def get(self, *arguments: str) -> Any:
        """Get an object, or a list of them, as JSON."""
        return json.loads(self.kubectl("get", "--output=json", *arguments))

    def apply(self, *manifests: Manifest) -> None:
        """Apply manifests, by the server."""
        listed = {"apiVersion": "v1", "kind": "List", "items": manifests}
        options = ("--server-side", "--force-conflicts", "--filename=-")
        self.kubectl("apply", *options, given=json.dumps(listed))

    def gpus(self) -> int:
        """Count the GPUs that pods may ask for, on all nodes, taken ones too."""
        nodes = self.get("nodes")["items"]
        return sum(int(node["status"]["allocatable"].get(GPU, 0)) for node in nodes)

    def image(self, image: Image) -> str:
        """Bring an image of this checkout to where the cluster finds it; give its reference.

        Without a registry another cluster has it already, as `kind load` gives it one.

        Raises:
            RuntimeError: it cannot be built, or is not taken.
        """
        if self.node is not None:
            return load(image, self.node.ctr)
        return reference(image) if self.registry is None else push(build(image), self.registry)

    def _command(self, *arguments: str) -> list[str]:
        return [self.kubectl_path, f"--kubeconfig={self.kubeconfig}", *arguments]

    @property
    def environ(self) -> dict[str, str]:
        """What its programs see of ours."""
        # before another cluster a proxy may have to stand
        return dict(os.environ) if self.node is None else self.node.client_environment


def own(node: Node) -> Cluster:
    """Give the cluster that a node of ours is."""
    return Cluster(node.kubeconfig, str(node.folder / "bin" / "kubectl"), node)


@contextmanager
def reached_cluster(name: str) -> Iterator[Cluster]:
    """Reach the cluster that the environment names, or run a node while the `with` block runs.

    What was made in the one is gone then, and with the other.

    Args:
        name: of the node; another run beside it needs another one.

    Raises:
        RuntimeError: no kubectl for the one, or the other cannot be started.
    """
    named = os.environ.get(KUBECONFIG)
    if not named:
        remove_dead()  # what an earlier run left that was killed
        with running_node(name) as node:
            yield own(node)
        return
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise RuntimeError("kubectl is not on the PATH: install it")
    other = Cluster(Path(named).expanduser().absolute(), kubectl, registry=os.environ.get(REGISTRY))
    try:
        yield other
    finally:
        if other.spaces:
            gone = ("--ignore-not-found", "--timeout=300s")
            other.kubectl("delete", "namespace", *other.spaces, *gone)
