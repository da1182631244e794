"""Checks of the namespace: PodSecurity, the user's permissions and the peers."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from offsite.apiversion import GROUP
from offsite.errors import InputError
from offsite_cli.cluster.doctor.finding import Finding
from offsite_cli.cluster.doctor.release import read_settings
from offsite_cli.cluster.job_status import Resource, name_of
from offsite_cli.cluster.jobs import list_peers

if TYPE_CHECKING:
    from offsite_cli.cluster.api import Api

_LEVEL = "pod-security.kubernetes.io/enforce"
_CREATE_PEER = "offsite peers manifest FILE | kubectl apply -f -"
_REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_RIGHTS = {
    "submit jobs": ("create", GROUP, "offsitejobs", ""),
    "see jobs": ("list", GROUP, "offsitejobs", ""),
    "change jobs": ("patch", GROUP, "offsitejobs", ""),
    "delete jobs": ("delete", GROUP, "offsitejobs", ""),
    "read logs": ("get", "", "pods", "log"),
    "see events": ("list", "", "events", ""),
}


def check_namespace(api: "Api") -> Iterator[Finding]:
    """Check that the namespace exists and enforces the PodSecurity standard `restricted`."""
    try:
        found = api.get(f"/api/v1/namespaces/{api.namespace}")
    except InputError:
        remedy = f"create it, or choose another with --namespace: kubectl create ns {api.namespace}"
        yield Finding("namespace", "fail", f"there is no namespace {api.namespace}", remedy)
        return
    level = (found["metadata"].get("labels") or {}).get(_LEVEL)
    if level == "restricted":
        yield Finding("namespace", "ok", f"{api.namespace} enforces PodSecurity restricted")
        return
    remedy = f"kubectl label namespace {api.namespace} {_LEVEL}=restricted"
    message = f"{api.namespace} enforces PodSecurity {level or 'nothing'}, not restricted"
    yield Finding("namespace", "warn", message, remedy)


def check_rights(api: "Api") -> Iterator[Finding]:
    """Check what this user may do in the namespace."""
    lacking = [deed for deed, right in _RIGHTS.items() if not _is_allowed(api, *right)]
    if not lacking:
        yield Finding("rights", "ok", f"you may {', '.join(_RIGHTS)}")
        return
    message = f"you may not {', '.join(lacking)} in {api.namespace}"
    remedy = "ask the namespace's administrator to bind you to the Role offsite-edit"
    yield Finding("rights", "warn", message, remedy)


def check_peers(api: "Api") -> Iterator[Finding]:
    """Check that the keys of the peers are pinned, and that jobs may name the peers."""
    found = list_peers(api)
    if not found:
        yield Finding("peers", "warn", f"there is no OffsitePeer in {api.namespace}", _CREATE_PEER)
    yield from map(peer_finding, found)
    yield from allowed_peers_findings(read_settings(api) or {}, [name_of(peer) for peer in found])


def peer_finding(peer: Resource) -> Finding:
    """Judge a peer by its condition Ready."""
    status = peer.get("status") or {}
    ready: dict[str, str] = next(
        (each for each in status.get("conditions") or [] if each.get("type") == "Ready"), {}
    )
    name = name_of(peer)
    if ready.get("status") == "True":
        message = f"{name} is ready; compare its fingerprint: {status.get('fingerprint')}"
        return Finding("peers", "ok", message)
    if not ready:
        return Finding("peers", "fail", f"no operator has seen {name} yet")
    message = f"{name} is not ready ({ready.get('reason')}): {ready.get('message')}"
    return Finding("peers", "fail", message)


def allowed_peers_findings(settings: dict[str, Any], names: list[str]) -> Iterator[Finding]:
    """Compare the existing peers with those that the release lets jobs name."""
    from offsite.api import is_among

    allowed: list[str] = (settings.get("bounds") or {}).get("peers") or []
    for name in names:
        if not is_among(name, allowed):
            entries = ", ".join(allowed) or "no entries"
            message = f"jobs may not name {name}: bounds.peers has {entries}"
            yield Finding("peers", "warn", message, "add it to bounds.peers of the Helm values")
    for each in allowed:
        if not each.endswith("*") and each not in names:
            message = f"bounds.peers names {each}, but there is no such OffsitePeer"
            yield Finding("peers", "warn", message, _CREATE_PEER)


def _is_allowed(api: "Api", verb: str, group: str, resource: str, subresource: str) -> bool:
    attributes = {"namespace": api.namespace, "verb": verb, "group": group, "resource": resource}
    asked = {"resourceAttributes": {**attributes, "subresource": subresource}}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
    return bool(api.create(_REVIEW, {**review, "spec": asked})["status"]["allowed"])
