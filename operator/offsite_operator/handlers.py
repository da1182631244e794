"""The thin part that kopf calls: whatever happens, somebody is told to look. It decides nothing.

No timers, daemons or handlers of changes: those put a finalizer on each job, which nobody would
remove when the operator is uninstalled.
"""

from collections.abc import Mapping
from typing import Any

import kopf
from kubernetes.client import Configuration

from offsite_operator.names import GROUP, JOB, MANAGED_BY, MANAGER
from offsite_operator.worker import Key
from offsite_operator.workqueue import WorkQueue

_CHILDREN = (("batch", "v1", "jobs"), ("ray.io", "v1", "rayjobs"), ("", "v1", "pods"))


def registered(queue: WorkQueue[Key], connection: Configuration) -> kopf.OperatorRegistry:
    """Say what is watched, and that whoever it concerns is then looked at."""
    registry = kopf.OperatorRegistry()

    async def job_changed(body: kopf.Body, **_: Any) -> None:
        if not _is_echo(body):
            queue.add(Key("job", str(body["metadata"]["name"])))

    async def peer_changed(body: kopf.Body, **_: Any) -> None:
        queue.add(Key("peer", str(body["metadata"]["name"])))

    async def child_changed(type: str | None, labels: Mapping[str, str], **_: Any) -> None:
        if type is not None and JOB in labels:  # None: it was listed, as a resync does
            queue.add(Key("job", labels[JOB]))

    async def login(**_: Any) -> kopf.ConnectionInfo:
        return _connection(connection)

    kopf.on.login(registry=registry)(login)
    version = f"{GROUP}/v1alpha1"
    kopf.on.event(version, "offsitejobs", registry=registry)(job_changed)
    kopf.on.event(version, "offsitepeers", registry=registry)(peer_changed)
    for group, version, plural in _CHILDREN:
        watch = kopf.on.event(
            group, version, plural, labels={MANAGED_BY: MANAGER}, registry=registry
        )
        watch(child_changed)
    return registry


def settings() -> kopf.OperatorSettings:
    """Set kopf up for one namespace, without any right outside of it."""
    chosen = kopf.OperatorSettings()
    chosen.posting.enabled = False  # noqa: V101 - kopf reads these
    chosen.scanning.disabled = True  # noqa: V101
    chosen.process.ultimate_exiting_timeout = None  # noqa: V101 - the process ends by itself
    chosen.networking.request_timeout = 60  # noqa: V101
    # a watch that is silent for longer is dead: the server sends bookmarks
    chosen.watching.inactivity_timeout = 70  # noqa: V101
    chosen.watching.server_timeout = 600  # noqa: V101
    return chosen


def _is_echo(body: Mapping[str, Any]) -> bool:
    """Whether only its status changed, which is our own doing."""
    metadata, status = body["metadata"], body.get("status") or {}
    return bool(status.get("observedGeneration") == metadata.get("generation"))


def _connection(client: Configuration) -> kopf.ConnectionInfo:
    header = client.get_api_key_with_prefix("BearerToken", alias="authorization") or ""
    scheme, _, token = header.rpartition(" ")
    return kopf.ConnectionInfo(
        server=client.host,
        ca_path=client.ssl_ca_cert,
        insecure=not client.verify_ssl,
        certificate_path=client.cert_file,
        private_key_path=client.key_file,
        scheme=scheme or None,
        token=token or None,
    )
