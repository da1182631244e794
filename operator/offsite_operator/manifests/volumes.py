"""Builds the volumes of a step's pods: the task, and only the Secrets and claims that it needs."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from offsite.events import EVENT_MARK, MARK
from offsite.mounts import ETC, PASSPHRASE, SESSION
from offsite_operator.manifests.claims import claims_in, mounts
from offsite_operator.manifests.plan import ChildPlan
from offsite_operator.settings import Store

_PYTHON = {"HOME": "/tmp", "PYTHONUNBUFFERED": "1"}


@dataclass(frozen=True)
class Volume:
    """A volume, and its mount path."""

    name: str
    path: str
    source: dict[str, Any]
    read_only: bool = True
    folder: str = ""
    """Mounted subfolder of the volume; empty: all of it."""

    @property
    def volume(self) -> dict[str, Any]:
        """The volume's entry in the pod."""
        return {"name": self.name, **self.source}

    @property
    def mount(self) -> dict[str, Any]:
        """The mount's entry in the container."""
        mount: dict[str, Any] = {"name": self.name, "mountPath": self.path}
        mount |= {"subPath": self.folder} if self.folder else {}
        return mount | ({"readOnly": True} if self.read_only else {})


def scratch(plan: ChildPlan) -> Volume:
    """Return the pod's temporary storage; a pod that exceeds its limit is evicted."""
    source = {"emptyDir": {"sizeLimit": plan.settings.scratch_limit}}
    return Volume("tmp", "/tmp", source, read_only=False)


def volumes(plan: ChildPlan) -> list[Volume]:
    """List the volumes of a step's container."""
    return [
        scratch(plan),
        _task(plan),
        *_secrets(plan),
        *([] if plan.auxiliary else _claims(plan)),
        *([] if plan.keyed else [_shared_memory(plan)]),
    ]


def lender_volumes(plan: ChildPlan) -> list[Volume]:
    """List the volumes of the init container that obtains a session; no other container writes to
    them.
    """
    account = _account("private", plan.settings.private)
    return [_task(plan), *account, replace(_session(), read_only=False)]


def lender_environment(plan: ChildPlan) -> list[dict[str, Any]]:
    """List the variables of the init container that obtains a session."""
    return _plain(_PYTHON | dict(_store("private", plan.settings.private)))


def environment(plan: ChildPlan) -> list[dict[str, Any]]:
    """List the environment variables of a step's container, as the CLI reads them."""
    settings = plan.settings
    found = dict(_PYTHON)
    if not plan.reaches_hub:
        found |= {"HF_HUB_OFFLINE": "1"}
    if settings.private.claim is None and not plan.auxiliary:
        found |= dict(_store("private", settings.private, SESSION if plan.borrows else None))
    if plan.keyed:
        found |= dict(_store("exchange", settings.exchange))
        if settings.identity.passphrase:
            found["OFFSITE_PASSPHRASE_FILE"] = PASSPHRASE
    mark = {"fieldRef": {"fieldPath": f"metadata.annotations['{EVENT_MARK}']"}}
    return [{"name": MARK, "valueFrom": mark}, *_plain(found)]


def _plain(found: dict[str, str]) -> list[dict[str, Any]]:
    return [{"name": name, "value": value} for name, value in sorted(found.items())]


def _store(name: str, store: Store, keys: str | None = None) -> Iterator[tuple[str, str]]:
    prefix, folder = f"OFFSITE_{name.upper()}", keys or f"{ETC}/{name}"
    for variable, value in (
        ("ENDPOINT", store.endpoint),
        ("REGION", store.region),
        ("STYLE", store.style),
        ("CREDENTIALS", f"{folder}/credentials.json"),
        ("CA", f"{folder}/ca.crt" if store.ca else None),
    ):
        if value is not None:
            yield f"{prefix}_{variable}", value


def _secrets(plan: ChildPlan) -> Iterator[Volume]:
    settings = plan.settings
    if plan.keyed:
        keys = ["ring.json", *(["passphrase"] if settings.identity.passphrase else [])]
        yield _secret("identity", settings.identity.secret, keys)
        yield from _account("exchange", settings.exchange)
    if plan.borrows:
        yield _session()
    elif settings.private.claim is None and not plan.auxiliary:
        yield from _account("private", settings.private)


def _task(plan: ChildPlan) -> Volume:
    return Volume("task", f"{ETC}/task", {"configMap": {"name": plan.name}})


def _session() -> Volume:
    return Volume("session", SESSION, {"emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}})


def _account(name: str, store: Store) -> Iterator[Volume]:
    if store.secret is not None:
        yield _secret(name, store.secret, ["credentials.json", *(["ca.crt"] if store.ca else [])])


def _secret(name: str, secret: str, keys: list[str]) -> Volume:
    items = [{"key": key, "path": key} for key in keys]
    source = {"secretName": secret, "defaultMode": 0o440, "items": items}
    return Volume(name, f"{ETC}/{name}", {"secret": source})


def _claims(plan: ChildPlan) -> Iterator[Volume]:
    """Mount folders of claims, with one volume per claim."""
    found = mounts(plan)
    names = {claim: f"claim-{number}" for number, claim in enumerate(claims_in(found))}
    for each in found:
        # read-only at the mount only: a read-only volume would block writes to its other folders
        source = {"persistentVolumeClaim": {"claimName": each.claim}}
        yield Volume(names[each.claim], each.path, source, not each.writes, each.folder)


def _shared_memory(plan: ChildPlan) -> Volume:
    limit = plan.spec.resources.memory_per_worker
    source = {"emptyDir": {"medium": "Memory", "sizeLimit": limit}}
    return Volume("shm", "/dev/shm", source, read_only=False)
