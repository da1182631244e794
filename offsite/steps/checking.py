"""Checks that a pod can access both stores of its party, and that they store what is written.

    python -m offsite.steps.checking --party lab --exchange s3://exchange --private s3://models/lab

In each store it writes, reads, lists, replaces and deletes a probe object. Each result is a `check`
event, as `offsite.events` writes it, with the store, the verdict (`ok` or `fail`) and a message.
The store's own error reports unknown hosts and wrong clocks. A deliberately dishonest store is not
detected: seals and ledgers protect against it.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Literal
from uuid import uuid4

from offsite.errors import NotFoundError, OffsiteError, StorageError
from offsite.events import Check, as_line, mark_of
from offsite.store import ObjectStore
from offsite.store.open import open_store
from offsite.store.private_store import SETTINGS
from offsite.store.s3 import S3Store
from offsite.text import guard_output

_MOST = 64
_STALL_SECONDS = 20.0
_OLD, _NEW = b"offsite: a check", b"offsite: the same, replaced"


def main() -> int:
    """Check both stores; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m offsite.steps.checking")
    for name in ("party", "exchange", "private"):
        parser.add_argument(f"--{name}", required=True)
    options = parser.parse_args()
    guard_output()
    found = list(check_stores(options.party, options.exchange, options.private, os.environ))
    for event in found:
        print(as_line(event, mark_of(os.environ)), flush=True)
    return int(any(event.verdict == "fail" for event in found))


def check_stores(
    party: str,
    exchange: str,
    private: str,
    environ: Mapping[str, str],
    stall_seconds: float = _STALL_SECONDS,
) -> Iterator[Check]:
    """Check the two stores of a party.

    Args:
        party: The party's id. Its account may write to the exchange below that prefix.
        private: `s3://bucket/prefix`, or `file:///folder` of a mounted claim.
        environ: Environment of the step's pods.
        stall_seconds: How long an S3 request may make no progress.
    """

    def opened(uri: str, settings: str) -> ObjectStore:
        store = open_store(uri, settings, environ)
        return replace(store, stall_seconds=stall_seconds) if isinstance(store, S3Store) else store

    mark = uuid4().hex
    bucket, prefix = _split(private)
    yield _checked(
        "exchange",
        lambda: opened(exchange, "OFFSITE_EXCHANGE"),
        f"{party}/{party}/offsite-check/{mark}",
    )
    yield _checked("private", lambda: opened(bucket, SETTINGS), f"{prefix}{mark}")


def _split(private: str) -> tuple[str, str]:
    """Split the private store's address into a store and a key prefix."""
    if not private.startswith("s3://"):
        return private, "check/"
    bucket, _, prefix = private.removeprefix("s3://").partition("/")
    return f"s3://{bucket}", f"{prefix.strip('/')}/check/"


def _checked(
    name: Literal["exchange", "private"], opened: Callable[[], ObjectStore], key: str
) -> Check:
    try:
        store = opened()
        store.put(key, _OLD)
        try:
            _try(store, key)
        finally:
            store.delete([key])
    except OffsiteError as error:
        return Check(store=name, verdict="fail", message=str(error))
    detail = f"{store.uri(key)} was written, read, listed, replaced and deleted"
    return Check(store=name, verdict="ok", message=detail)


def _try(store: ObjectStore, key: str) -> None:
    """Exercise the store with a written object, as a step does.

    Raises:
        StorageError: The store refused, is unavailable, or returned another state than was written.
    """
    first = store.get(key, _MOST)
    store.put(key, _NEW)
    if (first, store.get(key, _MOST)) != (_OLD, _NEW):
        raise StorageError(f"{store.uri(key)} reads back differently than it was just written")
    if key not in store.sizes(f"{key.rpartition('/')[0]}/"):
        raise StorageError(f"{store.uri(key)} was written but is not listed")
    store.delete([key])
    with suppress(NotFoundError):
        store.get(key, _MOST)
        raise StorageError(f"{store.uri(key)} was deleted but is still readable")


if __name__ == "__main__":
    sys.exit(main())
