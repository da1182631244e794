"""Checks that a pod reaches both stores of its party, and that they store what is written.

    python -m offsite.steps.checking --party lab --exchange s3://exchange --private s3://models/lab

In each store an object of the check's own is written, read, listed, replaced and deleted. Each
event is a line as `offsite.events` writes it: `check` with the store, the verdict (`ok` or `fail`)
and a message. A host that has no address and a clock that is off are what the store's own error
says. A store that lies on purpose is not found out: that is what seals and ledgers are for.
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
    """Check both stores; gives the exit code."""
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
        party: its id; below it, its account may write in the exchange.
        private: `s3://bucket/prefix`, or `file:///folder` of a mounted claim.
        environ: as the pods of the steps have it.
        stall_seconds: how long a request to an S3 store may get nowhere.
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
    """Split the private store into what holds objects, and a prefix for keys."""
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
    told = f"{store.uri(key)} was written, read, listed, replaced and deleted"
    return Check(store=name, verdict="ok", message=told)


def _try(store: ObjectStore, key: str) -> None:
    """Do with an object that was written what a step does with those of its own.

    Raises:
        StorageError: the store refused, is away, or shows another state than it was left in.
    """
    first = store.get(key, _MOST)
    store.put(key, _NEW)
    if (first, store.get(key, _MOST)) != (_OLD, _NEW):
        raise StorageError(f"{store.uri(key)} is not read as it was written just before")
    if key not in store.sizes(f"{key.rpartition('/')[0]}/"):
        raise StorageError(f"{store.uri(key)} was written, and is not listed")
    store.delete([key])
    with suppress(NotFoundError):
        store.get(key, _MOST)
        raise StorageError(f"{store.uri(key)} was deleted, and is read all the same")


if __name__ == "__main__":
    sys.exit(main())
