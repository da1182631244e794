"""The kopf watches. They restart after a failure, and when KubeRay is installed or removed.

The resync finds what happens while no watch is open.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import kopf
from kubernetes.client import Configuration

from offsite.apiversion import API_VERSION
from offsite_operator.cluster.client import RAY_JOBS, Api
from offsite_operator.controller.workqueue import Key, WorkQueue
from offsite_operator.labels import JOB, MANAGED_BY, MANAGER

log = logging.getLogger(__name__)
_AFTER_ERROR = 10.0
_GLANCE = 0.5
"""Interval in seconds of the checks whether to stop."""
_FAREWELL = 0.5
"""Seconds for the TLS shutdown; aiohttp does not wait for it when it closes a response."""


class Watches:
    """Watches the kinds that the cluster served when the watches were opened.

    kopf discovers new kinds only with cluster-wide access to CRDs, which a namespaced Role cannot
    grant.
    """

    def __init__(self, api: Api, queue: WorkQueue[Key]) -> None:
        self._api, self._queue = api, queue
        self._ray = False
        self._outdated = threading.Event()

    def run(self, stop: threading.Event) -> None:
        """Watch until `stop` is set."""
        while not stop.is_set():
            self._outdated.clear()
            try:
                # before kopf starts: a kind that appears in between costs at most one extra
                # restart
                self._ray = self._api.serves(RAY_JOBS)
                asyncio.run(self._watch(lambda: stop.is_set() or self._outdated.is_set()))
            except Exception:  # kopf raises many kinds; the resync continues
                log.warning("watch failed; restarting", exc_info=True)
                stop.wait(_AFTER_ERROR)

    def match(self, ray: bool) -> None:
        """Restart the watches if RayJobs were added to the cluster or removed from it."""
        if ray != self._ray:
            self._outdated.set()

    async def _watch(self, over: Callable[[], bool]) -> None:
        watches = asyncio.create_task(
            kopf.operator(
                registry=registered(self._queue, self._api.client.configuration),
                settings=settings(),
                namespaces=[self._api.namespace],
                standalone=True,
            )
        )
        while not over() and not watches.done():
            await asyncio.wait({watches}, timeout=_GLANCE)
        watches.cancel()
        with suppress(asyncio.CancelledError):
            await watches
        await asyncio.sleep(_FAREWELL)


_CHILDREN = (("batch", "v1", "jobs"), ("ray.io", "v1", "rayjobs"), ("", "v1", "pods"))


def registered(queue: WorkQueue[Key], connection: Configuration) -> kopf.OperatorRegistry:
    """Register the watches. Every event enqueues a reconcile of its job or peer."""
    registry = kopf.OperatorRegistry()

    async def job_changed(body: kopf.Body, **_: Any) -> None:
        if not _is_echo(body):
            queue.add(Key("job", str(body["metadata"]["name"])))

    async def peer_changed(body: kopf.Body, **_: Any) -> None:
        queue.add(Key("peer", str(body["metadata"]["name"])))

    async def approval_changed(spec: kopf.Spec, **_: Any) -> None:
        queue.add(Key("job", str(spec["job"])))

    async def child_changed(type: str | None, labels: Mapping[str, str], **_: Any) -> None:
        if type is not None and JOB in labels:  # None: from a listing, which the resync covers
            queue.add(Key("job", labels[JOB]))

    _register_login(registry, connection)
    kopf.on.event(API_VERSION, "offsitejobs", registry=registry)(job_changed)
    kopf.on.event(API_VERSION, "offsitepeers", registry=registry)(peer_changed)
    kopf.on.event(API_VERSION, "offsiteapprovals", registry=registry)(approval_changed)
    for group, version, plural in _CHILDREN:
        watch = kopf.on.event(
            group, version, plural, labels={MANAGED_BY: MANAGER}, registry=registry
        )
        watch(child_changed)
    return registry


def _register_login(registry: kopf.OperatorRegistry, connection: Configuration) -> None:
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return _connection(connection)

    kopf.on.login(registry=registry)(login)


def settings() -> kopf.OperatorSettings:
    """Configure kopf for one namespace, without cluster-wide permissions."""
    chosen = kopf.OperatorSettings()
    chosen.posting.enabled = False  # noqa: V101 - kopf reads these
    chosen.scanning.disabled = True  # noqa: V101
    chosen.process.ultimate_exiting_timeout = None  # noqa: V101 - the process exits anyway
    chosen.networking.request_timeout = 60  # noqa: V101
    # the server sends bookmarks, so a longer silence means a dead connection
    chosen.watching.inactivity_timeout = 70  # noqa: V101
    chosen.watching.server_timeout = 600  # noqa: V101
    return chosen


def _is_echo(body: Mapping[str, Any]) -> bool:
    """Return whether only the status changed, which the operator writes itself."""
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
