"""The cluster that the e2e tests talk to: a node of their own, or one that somebody else runs."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from cluster.images import Image, build, load, push, reference
from cluster.lifecycle import remove_dead, running_node
from cluster.node import Node
from cluster.processes import BOUND

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

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        """Run kubectl as the administrator.

        Args:
            given: what it reads on stdin.

        Raises:
            RuntimeError: it failed; the message is its own.
        """
        done = subprocess.run(
            self._command(*arguments),
            env=self.environ,
            input=given,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise RuntimeError(f"kubectl {' '.join(arguments)}: {done.stderr}")
        return done.stdout

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
        home = str(self.kubeconfig.parent)
        # no proxy may stand before our own node; before another cluster one may have to
        return dict(os.environ) if self.node is None else {"PATH": os.defpath, "HOME": home}


@contextmanager
def reached_cluster(name: str) -> Iterator[Cluster]:
    """Reach the cluster that the environment names, or run a node while the `with` block runs.

    Args:
        name: of the node; another run beside it needs another one.

    Raises:
        RuntimeError: no kubectl for the one, or the other cannot be started.
    """
    named = os.environ.get(KUBECONFIG)
    if not named:
        remove_dead()  # what an earlier run left that was killed
        with running_node(name) as node:
            yield Cluster(node.kubeconfig, str(node.folder / "bin" / "kubectl"), node)
        return
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise RuntimeError("kubectl is not on the PATH: install it")
    yield Cluster(Path(named), kubectl, registry=os.environ.get(REGISTRY))
