"""`python -m offsite_operator`: runs the operator of one namespace."""

import logging
import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from kubernetes.client import ApiClient
from kubernetes.config import ConfigException, load_incluster_config, load_kube_config

from offsite.errors import InputError, OffsiteError
from offsite.process.signals import stopping
from offsite.sealing.publicfile import read_public
from offsite.store import disk_errors
from offsite.store.open import is_one_bucket, s3_store
from offsite_operator.cluster.client import Api
from offsite_operator.controller.health import serve
from offsite_operator.controller.json_logs import log_as_json
from offsite_operator.controller.manager import operate
from offsite_operator.controller.metrics import Metrics
from offsite_operator.exchange.inbox import ExchangeInbox, MountedInbox
from offsite_operator.settings import Settings, read_settings

_SETTINGS, _PUBLIC = "/etc/offsite/settings.json", "/etc/offsite/public/public.json"
_PORT = 8080
_STALL_SECONDS = 5.0
"""Limit for one request to the exchange. The operator retries later anyway."""

_MOST_OBJECTS = 50_000
"""Limit on the objects listed for one bundle name, so that a listing fits into a small pod's
memory.
"""


def main() -> int:
    """Run until signalled; returns the exit code."""
    log_as_json()
    log = logging.getLogger(__name__)
    try:
        with stopping() as stop:
            _run(os.environ, stop)
    except (OffsiteError, ConfigException) as error:
        log.error("%s", error)
        return error.exit_code if isinstance(error, OffsiteError) else 4
    except Exception:  # a traceback would not be JSON
        log.exception("unexpected error; please report it")
        return 1
    log.info("stopped")
    return 0


def _run(environ: Mapping[str, str], stop: threading.Event) -> None:
    settings = read_settings(Path(environ.get("OFFSITE_SETTINGS", _SETTINGS)))
    if not (namespace := environ.get("OFFSITE_NAMESPACE")):
        raise InputError("OFFSITE_NAMESPACE must name the namespace to operate")
    refuse_one_place(settings)
    inbox = MountedInbox(_files(environ), partial(_inbox, settings, environ))
    _connect()
    metrics = Metrics()
    server = serve(metrics, settings.resync_seconds, _PORT)
    try:
        operate(Api(ApiClient(), namespace), settings, inbox, metrics, stop)
    finally:
        server.shutdown()


def refuse_one_place(settings: Settings) -> None:
    """Check that the private store and the exchange are different buckets.

    A training pod does not know the exchange, so no later check would catch this before data is
    written.

    Raises:
        InputError: Both stores are the same bucket.
    """
    private, exchange = settings.private, settings.exchange
    if not private.endpoint or not exchange.endpoint:
        return
    buckets = [each.uri.removeprefix("s3://").partition("/")[0] for each in (exchange, private)]
    if is_one_bucket((buckets[0], exchange.endpoint), (buckets[1], private.endpoint)):
        raise InputError(
            f"the exchange ({exchange.uri}) and the private store ({private.uri}) are the same "
            "bucket; "
            "set a separate bucket for each in the chart's values"
        )


def _connect() -> None:
    """Load the in-cluster configuration, else the kubeconfig. `load_config` would print."""
    try:
        load_incluster_config()
    except ConfigException:
        load_kube_config()


def _files(environ: Mapping[str, str]) -> list[Path]:
    """List the files that the inbox depends on."""
    named = (environ.get(f"OFFSITE_EXCHANGE_{name}") for name in ("CREDENTIALS", "CA"))
    return [_public(environ), *(Path(each) for each in named if each)]


def _public(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("OFFSITE_PUBLIC", _PUBLIC))


def _inbox(settings: Settings, environ: Mapping[str, str]) -> ExchangeInbox:
    path = _public(environ)
    with disk_errors(path):
        own = read_public(path.read_bytes(), str(path))
    if own.id != settings.party:
        raise InputError(
            f"{path} has the keys of {own.id}, but the chart's `party` is {settings.party}"
        )
    store = s3_store(settings.exchange.uri, "OFFSITE_EXCHANGE", environ)
    store = replace(store, stall_seconds=_STALL_SECONDS, most_objects=_MOST_OBJECTS)
    return ExchangeInbox(own, store)


if __name__ == "__main__":
    sys.exit(main())
