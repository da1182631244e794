"""What the namespace has to have: rights, the operator, peers."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from offsite.apiversion import GROUP
from offsite.errors import InputError
from offsite_cli.cluster.facts import Resource, name_of
from offsite_cli.cluster.findings import Finding
from offsite_cli.cluster.jobs import list_peers
from offsite_cli.cluster.release import INSTALL, settings_of

if TYPE_CHECKING:
    from offsite_cli.cluster.api import Api

_LEVEL = "pod-security.kubernetes.io/enforce"
_MAKE_PEER = "offsite peers manifest FILE | kubectl apply -f -"
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
        yield Finding("operator", "fail", told, f"install the release: {INSTALL}")
        return
    yield operator_of(found)


def operator_of(deployment: Resource) -> Finding:
    """Judge the operator's Deployment."""
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    if (deployment.get("status") or {}).get("readyReplicas"):
        return Finding("operator", "ok", f"ready ({image})")
    remedy = "kubectl describe deployment offsite-operator, and its pod's log"
    return Finding("operator", "fail", f"not ready ({image})", remedy)


def peers(api: "Api") -> Iterator[Finding]:
    """Check that the other organizations' keys are taken, and that jobs may name them."""
    found = list_peers(api)
    if not found:
        yield Finding("peers", "warn", f"no OffsitePeer is in {api.namespace}", _MAKE_PEER)
    yield from map(peer_of, found)
    yield from peers_allowed(settings_of(api) or {}, [name_of(peer) for peer in found])


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


def peers_allowed(settings: dict[str, Any], names: list[str]) -> Iterator[Finding]:
    """Compare the peers that are there with those that the release lets jobs name."""
    from offsite.api import is_among

    allowed: list[str] = (settings.get("bounds") or {}).get("peers") or []
    for name in names:
        if not is_among(name, allowed):
            told = f"jobs may not name {name}: bounds.peers has {', '.join(allowed) or 'nobody'}"
            yield Finding("peers", "warn", told, "add it there, in the values of the release")
    for each in allowed:
        if not each.endswith("*") and each not in names:
            told = f"bounds.peers has {each}, which is not here"
            yield Finding("peers", "warn", told, _MAKE_PEER)


def _allowed(api: "Api", verb: str, group: str, resource: str, subresource: str) -> bool:
    attributes = {"namespace": api.namespace, "verb": verb, "group": group, "resource": resource}
    asked = {"resourceAttributes": {**attributes, "subresource": subresource}}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
    return bool(api.create(_REVIEW, {**review, "spec": asked})["status"]["allowed"])


CHECKS = {
    "namespace": namespace,
    "rights": rights,
    "operator": operator,
    "peers": peers,
}
