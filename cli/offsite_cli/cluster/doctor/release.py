"""Checks of the Helm release in the namespace: its operator, and the Secrets that it names.

Secrets are never read. Their keys are visible in the metadata, since Kubernetes records who set
which field.
"""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from offsite.errors import InputError
from offsite_cli.cluster.doctor.finding import Finding
from offsite_cli.cluster.errors import ClusterForbidden
from offsite_cli.cluster.job_status import Resource

if TYPE_CHECKING:
    from offsite_cli.cluster.api import Api

INSTALL = "helm upgrade --install offsite charts/offsite"
_FILES = {
    "identity": (("ring.json", "public.json"), "passphrase"),
    "exchange": (("credentials.json",), "ca"),
    "private": (("credentials.json",), "ca"),
}
"""By section of the settings: the keys that its Secret always has, and the setting of another."""
_OPTIONAL = {"passphrase": "passphrase", "ca": "ca.crt"}


class SecretNeed(NamedTuple):
    """A Secret that the release names, with the keys that it must have."""

    section: str
    name: str
    keys: tuple[str, ...]
    setting: str = "secret"

    @property
    def value(self) -> str:
        """The Helm value that names it."""
        return f"{self.section}.{self.setting}"


def read_settings(api: "Api") -> dict[str, Any] | None:
    """Read the operator's settings from the release's ConfigMap; None: there is no release.

    Raises:
        ClusterForbidden: this user may not read them.
    """
    try:
        found = api.get(api.path("api/v1", "configmaps", "offsite-settings"))
        settings = json.loads(found["data"]["settings.json"])
    except (InputError, KeyError, ValueError):
        return None
    return settings if isinstance(settings, dict) else None


def check_operator(api: "Api") -> Iterator[Finding]:
    """Check that the operator runs; it is ready while its last pass over all jobs is recent."""
    try:
        found = _get_operator(api)
    except InputError:
        message = f"there is no operator in {api.namespace}: jobs stay Pending"
        yield Finding("operator", "fail", message, f"install the chart: {INSTALL}")
        return
    yield operator_finding(found)


def operator_finding(deployment: Resource) -> Finding:
    """Judge the operator's Deployment."""
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    if (deployment.get("status") or {}).get("readyReplicas"):
        return Finding("operator", "ok", f"ready ({image})")
    remedy = "kubectl describe deployment offsite-operator, and see the log of its pod"
    return Finding("operator", "fail", f"not ready ({image})", remedy)


def check_secrets(api: "Api") -> Iterator[Finding]:
    """Check that the Secrets that the release names exist, with the keys that they need."""
    settings = read_settings(api)
    if settings is None:
        message = "the ConfigMap offsite-settings does not exist, or is not of this Helm release"
        yield Finding("secrets", "fail", message, f"install the chart: {INSTALL}")
        return
    named = secrets_in_settings(settings)
    for need in named:
        yield _check_secret(api, need)
    try:
        deployment = _get_operator(api)
    except InputError:
        return  # `check_operator` reports it
    for need in secrets_mounted_by(deployment):
        if need.name not in {each.name for each in named}:
            yield _check_secret(api, need)


def secrets_in_settings(settings: dict[str, Any]) -> list[SecretNeed]:
    """List the Secrets that the settings name."""
    found = []
    for section, (keys, setting) in _FILES.items():
        given = settings.get(section) or {}
        if given.get("secret"):
            more = (_OPTIONAL[setting],) if given.get(setting) else ()
            found.append(SecretNeed(section, given["secret"], (*keys, *more)))
    return found


def secrets_mounted_by(deployment: Resource) -> list[SecretNeed]:
    """List the Secrets that the operator mounts; the settings do not name its own account."""
    spec = deployment["spec"]["template"]["spec"]
    projected = (each.get("projected") or {} for each in spec.get("volumes") or [])
    sources = (each.get("secret") for source in projected for each in source.get("sources") or [])
    return [
        SecretNeed(
            "exchange",
            each["name"],
            tuple(item["key"] for item in each.get("items") or []),
            "readerSecret",
        )
        for each in sources
        if each
    ]


def secret_finding(need: SecretNeed, secret: Resource) -> Finding:
    """Judge a Secret by its metadata."""
    label, held = f"{need.name} ({need.section})", _keys_of(secret)
    if held is None:
        return Finding("secrets", "ok", f"{label} exists; its keys are not recorded")
    lacking = [key for key in need.keys if key not in held]
    if not lacking:
        return Finding("secrets", "ok", f"{label} has {', '.join(need.keys)} (not read)")
    message = f"{label} lacks {', '.join(lacking)}; it has {', '.join(sorted(held)) or 'no keys'}"
    remedy = f"recreate it: kubectl create secret generic {need.name} --from-file={lacking[0]} …"
    return Finding("secrets", "fail", message, remedy)


def _get_operator(api: "Api") -> Resource:
    found: Resource = api.get(api.path("apis/apps/v1", "deployments", "offsite-operator"))
    return found


def _check_secret(api: "Api", need: SecretNeed) -> Finding:
    label = f"{need.name} ({need.section})"
    try:
        return secret_finding(need, api.metadata(api.path("api/v1", "secrets", need.name)))
    except InputError:
        remedy = f"create it, or name another one in the Helm value {need.value}"
        return Finding("secrets", "fail", f"there is no Secret {label}", remedy)
    except ClusterForbidden:
        return Finding("secrets", "warn", f"you may not check whether {label} exists")


def _keys_of(secret: Resource) -> set[str] | None:
    """Return the keys of a Secret; None: Kubernetes has not recorded who set them."""
    managed = secret["metadata"].get("managedFields") or []
    fields = [each.get("fieldsV1") or {} for each in managed]
    parts = [each.get(part) or {} for each in fields for part in ("f:data", "f:stringData")]
    keys = {key.removeprefix("f:") for part in parts for key in part if key.startswith("f:")}
    return keys if managed else None
