"""More pods than a machine has cores for: what they request is counted, what they use is not."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cluster.access import Cluster, Manifest
from cluster.namespaces import OURS, Namespace

_API = "admissionregistration.k8s.io/v1beta1"
_REQUEST = "/spec/containers/0/resources/requests/cpu"


@contextmanager
def overcommitted(space: Namespace, label: str) -> Iterator[None]:
    """Let pods with a label request a tenth of a core in a namespace, if the cluster can do that.

    Where it cannot, which only our own node is sure to, it has to have the cores.
    """
    if _API not in space.cluster.kubectl("api-versions").split():
        yield
        return
    name = f"overcommit-{space.name}"
    try:
        space.cluster.apply(*_policy(name, space.name, label))
        yield
    finally:
        _remove(space.cluster, name)


def _remove(cluster: Cluster, name: str) -> None:
    for kind in ("mutatingadmissionpolicybinding", "mutatingadmissionpolicy"):
        cluster.kubectl("delete", kind, name, "--ignore-not-found")


def _policy(name: str, namespace: str, label: str) -> tuple[Manifest, Manifest]:
    pods = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["pods"],
    }
    labelled = f"has(object.metadata.labels) && '{label}' in object.metadata.labels"
    patch = f"[JSONPatch{{op: 'replace', path: '{_REQUEST}', value: '100m'}}]"
    within = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    metadata = {"metadata": {"name": name, "labels": OURS}}
    policy: dict[str, Any] = {
        "matchConstraints": {"resourceRules": [pods]},
        "matchConditions": [{"name": "labelled", "expression": labelled}],
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": patch}}],
    }
    binding = {"policyName": name, "matchResources": within}
    return (
        {"apiVersion": _API, "kind": "MutatingAdmissionPolicy", **metadata, "spec": policy},
        {"apiVersion": _API, "kind": "MutatingAdmissionPolicyBinding", **metadata, "spec": binding},
    )
