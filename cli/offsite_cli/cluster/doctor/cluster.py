"""Checks of the cluster: the API server, the CRDs, KubeRay and GPUs."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import offsite
from offsite.apiversion import API_VERSION, GROUP
from offsite.errors import InputError
from offsite_cli.cluster.doctor.finding import Finding, Verdict
from offsite_cli.cluster.doctor.release import read_settings
from offsite_cli.cluster.errors import ClusterForbidden

if TYPE_CHECKING:
    from offsite_cli.cluster.api import Api

_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_VERSION = f"{GROUP}/version"
_INSTALL_CRDS = "ask the cluster's administrator for `helm upgrade --install offsite-crds`"
_MINIMUM_KUBERAY = (1, 5, 1)
"""The first version with `authOptions`, which the operator sets on every RayJob."""
_LABEL = "app.kubernetes.io"
_TAG = re.compile(r":v?(\d+)\.(\d+)\.(\d+)")
_WARN_SKEW, _FAIL_SKEW = 30, 300
"""Seconds."""


def check_api(api: "Api") -> Iterator[Finding]:
    """Check that the API server answers, and that its clock agrees with ours."""
    answer = api.answer("/version")
    yield Finding("api", "ok", f"Kubernetes {answer.content.get('gitVersion')} at {api.host}")
    if answer.date:
        skew = (datetime.now(UTC) - parsedate_to_datetime(answer.date)).total_seconds()
        yield clock_finding(skew)


def clock_finding(skew: float) -> Finding:
    """Judge how many seconds our clock is ahead of the API server's."""
    if abs(skew) < _WARN_SKEW:
        return Finding("clock", "ok", "agrees with the API server's clock")
    verdict: Verdict = "fail" if abs(skew) >= _FAIL_SKEW else "warn"
    message = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the API server's clock"
    return Finding("clock", verdict, message, "synchronize it by NTP: keys and envelopes expire")


def check_crds(api: "Api") -> Iterator[Finding]:
    """Check that the CRDs are installed, in the version of this command."""
    for kind in ("offsitejobs", "offsitepeers", "offsiteapprovals"):
        try:
            metadata = api.metadata(f"{_CRDS}/{kind}.{GROUP}")["metadata"]
        except InputError:
            yield Finding("crds", "fail", f"{kind}.{GROUP} is not installed", _INSTALL_CRDS)
        except ClusterForbidden:
            yield _served_finding(api, kind)
        else:
            marks = {**(metadata.get("annotations") or {}), **(metadata.get("labels") or {})}
            yield crd_finding(kind, marks.get(_VERSION))


def crd_finding(kind: str, version: str | None) -> Finding:
    """Judge the version of a CRD."""
    if version == offsite.__version__:
        return Finding("crds", "ok", f"{kind}, version {version}")
    message = f"{kind} has version {version or 'unknown'}, this command {offsite.__version__}"
    return Finding("crds", "warn", message, f"{_INSTALL_CRDS}, or install that version of offsite")


def check_kuberay(api: "Api") -> Iterator[Finding]:
    """Check that KubeRay is installed; without it, each job runs in one plain pod."""
    try:
        served = {each["name"] for each in api.get("/apis/ray.io/v1")["resources"]}
    except InputError:
        served = set()
    if "rayjobs" not in served:
        message = "not installed: each job runs in one pod, and `engine: RayJob` fails"
        remedy = "install KubeRay to train with more than one worker"
        yield Finding("kuberay", "warn", message, remedy)
        return
    try:
        # the label that Helm sets, and that of KubeRay's own manifests
        selector = f"{_LABEL}/name in (kuberay-operator, kuberay)"
        found = api.get("/apis/apps/v1/deployments", labelSelector=selector)["items"]
    except ClusterForbidden:
        yield Finding("kuberay", "ok", "installed; you may not see its version")
        return
    yield kuberay_finding(
        [each for each in found if _is_kuberay_operator(each["metadata"]["labels"])]
    )


def kuberay_finding(operators: list[dict[str, Any]]) -> Finding:
    """Judge the Deployments of KubeRay's operator."""
    if not operators:
        remedy = "start KubeRay's operator; without it, no RayJob runs"
        return Finding("kuberay", "warn", "the CRDs exist, but not the operator", remedy)
    image = operators[0]["spec"]["template"]["spec"]["containers"][0]["image"]
    if not any((each.get("status") or {}).get("readyReplicas") for each in operators):
        remedy = "see the Deployment and the logs of its pods"
        return Finding("kuberay", "fail", f"the operator ({image}) is not ready", remedy)
    return _kuberay_version_finding(image.rpartition("/")[2])


def check_gpus(api: "Api") -> Iterator[Finding]:
    """Check for nodes with GPUs."""
    resource = (read_settings(api) or {}).get("gpuResource") or "nvidia.com/gpu"
    yield gpu_finding(api.get("/api/v1/nodes")["items"], resource)


def gpu_finding(nodes: list[dict[str, Any]], resource: str) -> Finding:
    """Count the allocatable GPUs, whether or not they are in use."""
    counts = [
        int((node.get("status") or {}).get("allocatable", {}).get(resource, 0)) for node in nodes
    ]
    if not sum(counts):
        message = f"none of {len(nodes)} nodes has {resource}: jobs train on CPUs"
        remedy = "install the device plugin if the nodes have GPUs"
        return Finding("gpus", "warn", message, remedy)
    return Finding("gpus", "ok", f"{sum(counts)} on {sum(map(bool, counts))} nodes ({resource})")


def _served_finding(api: "Api", kind: str) -> Finding:
    """Check by discovery, which needs no permission, that a kind is served."""
    try:
        found = {each["name"] for each in api.get(f"/apis/{API_VERSION}")["resources"]}
    except InputError:
        found = set()
    if kind in found:
        return Finding("crds", "ok", f"{kind} is served; you may not see its version")
    return Finding("crds", "fail", f"{kind}.{GROUP} is not installed", _INSTALL_CRDS)


def _is_kuberay_operator(labels: dict[str, str]) -> bool:
    # other components of KubeRay share the name label with its operator
    return "kuberay-operator" in (labels[f"{_LABEL}/name"], labels.get(f"{_LABEL}/component"))


def _kuberay_version_finding(image: str) -> Finding:
    """Judge the version in the tag of the operator's image."""
    found, least = _TAG.search(image), ".".join(map(str, _MINIMUM_KUBERAY))
    if found is None:
        message = f"operator {image}: its tag is not a version"
        return Finding("kuberay", "warn", message, f"make sure that it is {least} or newer")
    if tuple(map(int, found.groups())) < _MINIMUM_KUBERAY:
        message = f"operator {image} does not support Ray tokens: anyone on the network who reaches"
        message += " a training pod can run code in it"
        return Finding("kuberay", "warn", message, f"upgrade KubeRay to {least} or newer")
    return Finding("kuberay", "ok", f"operator {image}")
