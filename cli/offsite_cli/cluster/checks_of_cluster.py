"""What the cluster has to have: the API server, the CRDs, KubeRay, GPUs."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import offsite
from offsite.apiversion import API_VERSION, GROUP
from offsite.errors import InputError
from offsite_cli.cluster.errors import ClusterRefusal
from offsite_cli.cluster.findings import Finding
from offsite_cli.cluster.release import settings_of

if TYPE_CHECKING:
    from offsite_cli.cluster.api import Api

_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_VERSION = f"{GROUP}/version"
_INSTALL = "ask the cluster's administrator for `helm upgrade --install offsite-crds`"
_KUBERAY = (1, 5, 1)
"""The first version that has `authOptions`, which every RayJob of the operator sets."""
_LABEL = "app.kubernetes.io"
_TAG = re.compile(r":v?(\d+)\.(\d+)\.(\d+)")
_SKEW_THAT_WARNS, _SKEW_THAT_FAILS = 30, 300


def server(api: "Api") -> Iterator[Finding]:
    """Check that the API server answers, and that its clock agrees with ours."""
    answer = api.answer("/version")
    yield Finding("api", "ok", f"Kubernetes {answer.content.get('gitVersion')} at {api.host}")
    if answer.date:
        away = (datetime.now(UTC) - parsedate_to_datetime(answer.date)).total_seconds()
        yield clock(away)


def clock(away: float) -> Finding:
    """Judge how far our clock is from the cluster's, in seconds."""
    if abs(away) < _SKEW_THAT_WARNS:
        return Finding("clock", "ok", "agrees with the API server's")
    verdict: Any = "fail" if abs(away) >= _SKEW_THAT_FAILS else "warn"
    told = f"{abs(away):.0f} s {'ahead of' if away > 0 else 'behind'} the API server's"
    return Finding("clock", verdict, told, "set it by NTP: keys and envelopes have dates")


def crds(api: "Api") -> Iterator[Finding]:
    """Check that the cluster knows our kinds, in this version."""
    for kind in ("offsitejobs", "offsitepeers"):
        try:
            metadata = api.metadata(f"{_CRDS}/{kind}.{GROUP}")["metadata"]
        except InputError:
            yield Finding("crds", "fail", f"{kind}.{GROUP} is not installed", _INSTALL)
        except ClusterRefusal:
            yield _served(api, kind)
        else:
            marks = {**(metadata.get("annotations") or {}), **(metadata.get("labels") or {})}
            yield version_of_crd(kind, marks.get(_VERSION))


def version_of_crd(kind: str, version: str | None) -> Finding:
    """Compare the version of a CRD with our own."""
    if version == offsite.__version__:
        return Finding("crds", "ok", f"{kind}, version {version}")
    told = f"{kind} is of version {version or 'unknown'}, this command of {offsite.__version__}"
    return Finding("crds", "warn", told, f"{_INSTALL}, or take the command of that version")


def kuberay(api: "Api") -> Iterator[Finding]:
    """Check for KubeRay; without it, jobs run in one plain pod each."""
    try:
        served = {each["name"] for each in api.get("/apis/ray.io/v1")["resources"]}
    except InputError:
        served = set()
    if "rayjobs" not in served:
        told = "is not installed: jobs run in one pod each, and `engine: RayJob` cannot"
        yield Finding("kuberay", "warn", told, "install KubeRay if jobs need more than one worker")
        return
    try:
        selector = f"{_LABEL}/name in (kuberay-operator, kuberay)"  # by Helm, by its own manifests
        found = api.get("/apis/apps/v1/deployments", labelSelector=selector)["items"]
    except ClusterRefusal:
        yield Finding("kuberay", "ok", "is installed; you may not see its version")
        return
    yield kuberay_operator([each for each in found if _is_operator(each["metadata"]["labels"])])


def _is_operator(labels: dict[str, str]) -> bool:
    """Whether a Deployment is KubeRay's operator: its other parts share a name with it."""
    return "kuberay-operator" in (labels[f"{_LABEL}/name"], labels.get(f"{_LABEL}/component"))


def kuberay_operator(operators: list[dict[str, Any]]) -> Finding:
    """Judge KubeRay's own operator, by its Deployments."""
    if not operators:
        remedy = "look for its operator: without one, RayJobs stay as they are"
        return Finding("kuberay", "warn", "its CRDs are there, its Deployment is not", remedy)
    image = operators[0]["spec"]["template"]["spec"]["containers"][0]["image"]
    if not any((each.get("status") or {}).get("readyReplicas") for each in operators):
        remedy = "see its Deployment and its pods' logs"
        return Finding("kuberay", "fail", f"its operator ({image}) is not ready", remedy)
    return version_of_kuberay(image.rpartition("/")[2])


def version_of_kuberay(image: str) -> Finding:
    """Judge the version that the tag of KubeRay's image names."""
    found = _TAG.search(image)
    if found is None:
        least = ".".join(map(str, _KUBERAY))
        told = f"operator {image}, whose tag is no version"
        return Finding("kuberay", "warn", told, f"see that it is {least} or newer")
    if tuple(map(int, found.groups())) < _KUBERAY:
        told = f"operator {image} gives Ray no token: who reaches a pod that trains can run code"
        remedy = f"upgrade KubeRay to {'.'.join(map(str, _KUBERAY))} or newer"
        return Finding("kuberay", "warn", told, remedy)
    return Finding("kuberay", "ok", f"operator {image}")


def gpus(api: "Api") -> Iterator[Finding]:
    """Check for GPUs that nodes can give."""
    name = (settings_of(api) or {}).get("gpuResource") or "nvidia.com/gpu"
    yield gpus_of(api.get("/api/v1/nodes")["items"], name)


def gpus_of(nodes: list[dict[str, Any]], name: str) -> Finding:
    """Count the GPUs that nodes can give, whoever has them now.

    Args:
        name: of the resource.
    """
    counts = [int((node.get("status") or {}).get("allocatable", {}).get(name, 0)) for node in nodes]
    if not sum(counts):
        told = f"no node of {len(nodes)} has {name}: jobs train on CPUs"
        return Finding("gpus", "warn", told, "install the device plugin where there are GPUs")
    return Finding("gpus", "ok", f"{sum(counts)} on {sum(map(bool, counts))} nodes ({name})")


def _served(api: "Api", kind: str) -> Finding:
    """Look whether a kind is served, as anybody may."""
    try:
        found = {each["name"] for each in api.get(f"/apis/{API_VERSION}")["resources"]}
    except InputError:
        found = set()
    if kind in found:
        return Finding("crds", "ok", f"{kind} is served; you may not see its version")
    return Finding("crds", "fail", f"{kind}.{GROUP} is not installed", _INSTALL)


CHECKS = {"api": server, "crds": crds, "kuberay": kuberay, "gpus": gpus}
