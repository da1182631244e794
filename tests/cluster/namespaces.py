"""Namespaces for tests: restricted as an organization's is, and deleted when the test is done."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cluster.access import Cluster, Manifest

OURS = {"app.kubernetes.io/managed-by": "offsite-e2e"}
"""What tells our namespaces from others' in a cluster that is not our own."""

RESTRICTED = {
    "pod-security.kubernetes.io/enforce": "restricted",
    "pod-security.kubernetes.io/warn": "restricted",
}


@dataclass(frozen=True)
class Namespace:
    """A namespace of a cluster."""

    cluster: Cluster
    name: str

    @property
    def selector(self) -> Manifest:
        """All its pods, as a NetworkPolicy names them."""
        return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.name}}}

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        """Run kubectl in it; see `Cluster.kubectl`."""
        return self.cluster.kubectl(f"--namespace={self.name}", *arguments, given=given)

    def get(self, *arguments: str) -> Any:
        """Get an object in it, or a list of them, as JSON."""
        return self.cluster.get(f"--namespace={self.name}", *arguments)

    def apply(self, *manifests: Manifest) -> None:
        """Apply manifests in it."""
        inside = [
            {**each, "metadata": {**each["metadata"], "namespace": self.name}} for each in manifests
        ]
        self.cluster.apply(*inside)

    def wait(self, condition: str, *what: str, seconds: int = 120) -> None:
        """Wait for a condition, as `kubectl wait --for` takes it.

        Raises:
            RuntimeError: it did not come true in time.
        """
        self.kubectl("wait", f"--for={condition}", f"--timeout={seconds}s", *what)

    def events(self, what: str) -> str:
        """Read the Events of an object, one per line."""
        told = self.get("events", f"--field-selector=involvedObject.name={what}")["items"]
        return "\n".join(f"{event['reason']}: {event['message']}" for event in told)


@contextmanager
def new_namespace(cluster: Cluster, kind: str, **labels: str) -> Iterator[Namespace]:
    """Make a namespace in which pods may be made at once; delete it, and leave it to go."""
    name = f"{kind}-{secrets.token_hex(3)}"
    cluster.spaces.append(name)
    metadata = {"name": name, "labels": OURS | RESTRICTED | labels}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    try:
        space = Namespace(cluster, name)
        space.wait("create", "serviceaccount/default")
        yield space
    finally:
        cluster.kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=false")
