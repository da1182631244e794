"""Whether the Secrets are there that pods mount, with their keys. Their content stays unread.

Which keys a Secret has stands in its metadata: Kubernetes notes who set which field.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from offsite.errors import InputError
from offsite_cli.cluster.errors import ClusterRefusal
from offsite_cli.cluster.facts import Resource
from offsite_cli.cluster.findings import Finding
from offsite_cli.cluster.release import INSTALL, settings_of

if TYPE_CHECKING:
    from offsite_cli.cluster.api import Api

_FILES = {
    "identity": (("ring.json", "public.json"), "passphrase"),
    "exchange": (("credentials.json",), "ca"),
    "private": (("credentials.json",), "ca"),
}
"""Of each use, the keys that it always has, and the setting that says whether there is another."""
_OPTIONAL = {"passphrase": "passphrase", "ca": "ca.crt"}


class Need(NamedTuple):
    """A Secret that the release names."""

    use: str
    name: str
    keys: tuple[str, ...]
    """What it has to have."""
    setting: str = "secret"
    """Which value of the release names it, in the section of the use."""

    @property
    def value(self) -> str:
        """The value of the release that names it."""
        return f"{self.use}.{self.setting}"


def secrets(api: "Api") -> Iterator[Finding]:
    """Check that the Secrets are there which the release names, with the keys that they need."""
    settings = settings_of(api)
    if settings is None:
        told = "ConfigMap offsite-settings is missing, or not of this release"
        yield Finding("secrets", "fail", told, f"install the release: {INSTALL}")
        return
    named = secrets_of(settings)
    for need in named:
        yield _secret(api, need)
    try:
        deployment = api.get(api.path("apis/apps/v1", "deployments", "offsite-operator"))
    except InputError:
        return  # the check of the operator says so
    for need in mounted_by(deployment):
        if need.name not in {each.name for each in named}:
            yield _secret(api, need)


def secrets_of(settings: dict[str, Any]) -> list[Need]:
    """List the Secrets that the settings name."""
    found = []
    for use, (keys, setting) in _FILES.items():
        given = settings.get(use) or {}
        if given.get("secret"):
            more = (_OPTIONAL[setting],) if given.get(setting) else ()
            found.append(Need(use, given["secret"], (*keys, *more)))
    return found


def mounted_by(deployment: Resource) -> list[Need]:
    """List the Secrets that the operator mounts: its own account is named there alone."""
    spec = deployment["spec"]["template"]["spec"]
    projected = (each.get("projected") or {} for each in spec.get("volumes") or [])
    sources = (each.get("secret") for source in projected for each in source.get("sources") or [])
    return [
        Need(
            "exchange",
            each["name"],
            tuple(item["key"] for item in each.get("items") or []),
            "readerSecret",
        )
        for each in sources
        if each
    ]


def secret_of(need: Need, secret: Resource) -> Finding:
    """Judge a Secret by its metadata."""
    label, held = f"{need.name} ({need.use})", _keys_of(secret)
    if held is None:
        return Finding("secrets", "ok", f"{label} is there; which keys it has cannot be told")
    lacking = [key for key in need.keys if key not in held]
    if not lacking:
        return Finding("secrets", "ok", f"{label} has {', '.join(need.keys)}; unread")
    told = f"{label} lacks {', '.join(lacking)}; it has {', '.join(sorted(held)) or 'nothing'}"
    remedy = f"kubectl create secret generic {need.name} --from-file={lacking[0]} …, anew"
    return Finding("secrets", "fail", told, remedy)


def _secret(api: "Api", need: Need) -> Finding:
    label = f"{need.name} ({need.use})"
    try:
        return secret_of(need, api.metadata(api.path("api/v1", "secrets", need.name)))
    except InputError:
        remedy = f"make it, or name another one in the values of the release ({need.value})"
        return Finding("secrets", "fail", f"there is no Secret {label}", remedy)
    except ClusterRefusal:
        return Finding("secrets", "warn", f"you may not look whether {label} is there")


def _keys_of(secret: Resource) -> set[str] | None:
    """Name the keys of a Secret; None: nobody noted who set them."""
    noted = secret["metadata"].get("managedFields") or []
    fields = [each.get("fieldsV1") or {} for each in noted]
    parts = [each.get(part) or {} for each in fields for part in ("f:data", "f:stringData")]
    keys = {key.removeprefix("f:") for part in parts for key in part if key.startswith("f:")}
    return keys if noted else None


CHECKS = {"secrets": secrets}
