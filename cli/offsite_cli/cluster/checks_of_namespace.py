"""What the namespace has to have: rights, the release with its operator and Secrets, peers."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from offsite.errors import InputError
from offsite_cli.cluster.errors import ClusterRefusal
from offsite_cli.cluster.facts import Resource, name_of
from offsite_cli.cluster.findings import Finding
from offsite_cli.cluster.jobs import GROUP, list_peers
from offsite_cli.cluster.release import settings_of

if TYPE_CHECKING:
    from offsite_cli.cluster.api import Api

_LEVEL = "pod-security.kubernetes.io/enforce"
_RELEASE = "helm upgrade --install offsite charts/offsite"
_REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_NEEDED = {
    "submit jobs": ("create", GROUP, "offsitejobs", ""),
    "see jobs": ("list", GROUP, "offsitejobs", ""),
    "change jobs": ("patch", GROUP, "offsitejobs", ""),
    "delete jobs": ("delete", GROUP, "offsitejobs", ""),
    "read logs": ("get", "", "pods", "log"),
    "see events": ("list", "", "events", ""),
}


def namespace(api: "Api") -> Iterator[Finding]:
    """Check that the namespace is there, and holds its pods to the restricted standard."""
    try:
        found = api.get(f"/api/v1/namespaces/{api.namespace}")
    except InputError:
        remedy = "name another with --namespace, or have it made"
        yield Finding("namespace", "fail", f"there is no namespace {api.namespace}", remedy)
        return
    level = (found["metadata"].get("labels") or {}).get(_LEVEL)
    if level == "restricted":
        yield Finding("namespace", "ok", f"{api.namespace} enforces PodSecurity restricted")
        return
    remedy = f"kubectl label namespace {api.namespace} {_LEVEL}=restricted"
    told = f"{api.namespace} enforces PodSecurity {level or 'nothing'}, not restricted"
    yield Finding("namespace", "warn", told, remedy)


def rights(api: "Api") -> Iterator[Finding]:
    """Check what this user may do here."""
    lacking = [deed for deed, what in _NEEDED.items() if not _allowed(api, *what)]
    if not lacking:
        yield Finding("rights", "ok", f"you may {', '.join(_NEEDED)}")
        return
    told = f"you may not {', '.join(lacking)} in {api.namespace}"
    yield Finding("rights", "warn", told, "have yourself bound to the Role offsite-edit")


def operator(api: "Api") -> Iterator[Finding]:
    """Check that the operator runs; ready means that its last round over all jobs is recent."""
    try:
        found = api.get(api.path("apis/apps/v1", "deployments", "offsite-operator"))
    except InputError:
        told = f"no operator is in {api.namespace}: jobs stay as they are"
        yield Finding("operator", "fail", told, f"install the release: {_RELEASE}")
        return
    yield operator_of(found)


def operator_of(deployment: Resource) -> Finding:
    """Judge the operator's Deployment."""
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    if (deployment.get("status") or {}).get("readyReplicas"):
        return Finding("operator", "ok", f"ready ({image})")
    remedy = "kubectl describe deployment offsite-operator, and its pod's log"
    return Finding("operator", "fail", f"not ready ({image})", remedy)


def secrets(api: "Api") -> Iterator[Finding]:
    """Check that the Secrets are there which the release names. Their content stays unread."""
    settings = settings_of(api)
    if settings is None:
        told = "ConfigMap offsite-settings is missing, or not of this release"
        yield Finding("secrets", "fail", told, f"install the release: {_RELEASE}")
        return
    for use, name in secrets_of(settings):
        yield _secret(api, use, name)


def secrets_of(settings: dict[str, Any]) -> list[tuple[str, str]]:
    """List the Secrets that the settings name, each with its use."""
    uses = ("identity", "exchange", "private")
    named = [(use, (settings.get(use) or {}).get("secret")) for use in uses]
    return [(use, name) for use, name in named if name]


def peers(api: "Api") -> Iterator[Finding]:
    """Check that the other organizations' keys are taken."""
    found = list_peers(api)
    if not found:
        remedy = "offsite peers manifest FILE | kubectl apply -f -"
        yield Finding("peers", "warn", f"no OffsitePeer is in {api.namespace}", remedy)
    yield from map(peer_of, found)


def peer_of(peer: Resource) -> Finding:
    """Judge one peer by its condition Ready."""
    status = peer.get("status") or {}
    ready: dict[str, str] = next(
        (each for each in status.get("conditions") or [] if each.get("type") == "Ready"), {}
    )
    name = name_of(peer)
    if ready.get("status") == "True":
        told = f"{name} is ready; compare its fingerprint: {status.get('fingerprint')}"
        return Finding("peers", "ok", told)
    if not ready:
        return Finding("peers", "fail", f"no operator has looked at {name} yet")
    told = f"{name} is not ready ({ready.get('reason')}): {ready.get('message')}"
    return Finding("peers", "fail", told)


def stores(_api: "Api") -> Iterator[Finding]:
    """Say what cannot be seen from here."""
    told = (
        "only the operator and the pods reach them, so neither can be checked from here; a job "
        "that does not get through says so: offsite get NAME"
    )
    yield Finding("stores", "skip", told)


def _allowed(api: "Api", verb: str, group: str, resource: str, subresource: str) -> bool:
    attributes = {"namespace": api.namespace, "verb": verb, "group": group, "resource": resource}
    asked = {"resourceAttributes": {**attributes, "subresource": subresource}}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
    return bool(api.create(_REVIEW, {**review, "spec": asked})["status"]["allowed"])


def _secret(api: "Api", use: str, name: str) -> Finding:
    try:
        api.metadata(api.path("api/v1", "secrets", name))
    except InputError:
        remedy = f"make it, or name another one in the values of the release ({use}.secret)"
        return Finding("secrets", "fail", f"there is no Secret {name} ({use})", remedy)
    except ClusterRefusal:
        return Finding("secrets", "warn", f"you may not look whether {name} ({use}) is there")
    return Finding("secrets", "ok", f"{name} ({use}) is there; what it holds was not read")


CHECKS = {
    "namespace": namespace,
    "rights": rights,
    "operator": operator,
    "secrets": secrets,
    "peers": peers,
    "stores": stores,
}
