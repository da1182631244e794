"""A store in a bucket of an S3 service, through the minio SDK.

It requires only put, get, list and delete below granted prefixes: no location, no versions, no
multipart upload.
"""

import io
import os
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields
from functools import partial
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from minio import Minio
from minio.deleteobjects import DeleteError, DeleteObject
from minio.error import S3Error

from offsite.errors import NotAllowedError, NotFoundError, StorageError
from offsite.store.objects import too_large
from offsite.store.retries import StoreRetry, until_read
from offsite.store.s3_errors import S3Target, refused, translate_errors
from offsite.store.transport import TooLargeError, connections, read_whole

_SMALLEST_PART = 5 * 1024 * 1024
_NOT_NEW = ("PreconditionFailed", "ConditionalRequestConflict")
"""Errors for an object that already exists, or that a concurrent request is writing."""


@dataclass(frozen=True)
class S3Store:
    """Objects in a bucket. Connections belong to one process, and are not pickled."""

    endpoint: str
    """Format: `https://host:port`."""
    bucket: str
    access_key: str
    secret_key: str = field(repr=False)
    region: str = "us-east-1"
    """Configured, since restricted accounts may not query it."""
    ca_file: str | None = None
    """Trusted certificate authorities in PEM; None: the public ones."""
    path_style: bool = True
    """Whether the bucket is in the path, or in the host name."""
    stall_seconds: float = 120.0
    """How long a request may make no progress. A request signature expires after little more than
    ten minutes.
    """
    most_objects: int = 1_000_000
    """Limit for one prefix: an endless listing could fill the memory."""
    session_token: str | None = field(default=None, repr=False)
    """Token of the session that issued the keys."""
    settings: str = "OFFSITE_EXCHANGE"
    """Prefix of the environment variables of this store, for messages."""
    _clients: dict[int, Minio] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __reduce__(self) -> tuple[type["S3Store"], tuple[Any, ...]]:
        """Pickle the configuration, without connections."""
        return type(self), tuple(getattr(self, each.name) for each in fields(self) if each.init)

    def put(self, key: str, content: bytes) -> None:
        """Write an object; see `ObjectStore.put`."""
        with self._translated(key):
            self.client().put_object(
                self.bucket,
                key,
                io.BytesIO(content),
                len(content),
                part_size=max(len(content), _SMALLEST_PART),  # never in parts
            )

    def put_new(self, key: str, content: bytes) -> bool:
        """Create a small object; returns whether it is new.

        Raises:
            StorageError: The store ignores conditional writes; else as for `put`.
        """
        with self._translated(key):
            if not self._put_new(key, content):
                return False
            # a store that ignores conditions accepts a second write, too, which reveals it
            if self._put_new(key, content):
                raise StorageError(
                    f"{self.endpoint} overwrote {self.uri(key)} in spite of a condition "
                    "(If-None-Match), so concurrent jobs could lose data; use a store that "
                    "supports conditional writes, such as MinIO since September 2025 or AWS"
                )
        return True

    def _put_new(self, key: str, content: bytes) -> bool:
        try:
            # the SDK's public method cannot send conditions
            self.client()._put_object(self.bucket, key, content, {"If-None-Match": "*"})
        except S3Error as error:
            if error.code in _NOT_NEW:
                return False
            raise
        return True

    def get(self, key: str, most: int) -> bytes:
        """Read an object; see `ObjectStore.get`."""
        with self._translated(key):
            try:
                return until_read(lambda: self._read(key, most), self.retries())
            except S3Error as error:
                # some stores also deny access to a missing key
                if refused(error) and self._missing(key):
                    raise NotFoundError(f"there is no {self.uri(key)}") from error
                raise

    def get_piece(self, key: str, start: int, most: int, etag: str) -> bytes:
        """Read part of an object.

        Raises:
            StorageError: The object's etag has changed; else as for `get`.
        """
        only = {"request_headers": {"If-Match": f'"{etag}"'}, "offset": start, "length": most}
        with self._translated(key):
            read = partial(self._read, key, most, **only)
            return until_read(read, self.retries())

    def sizes(self, prefix: str) -> dict[str, int]:
        """List objects; see `ObjectStore.sizes`."""
        with self._translated(prefix):
            listed = self.client().list_objects(self.bucket, prefix=prefix, recursive=True)
            first = list(islice(listed, self.most_objects + 1))
        if len(first) > self.most_objects:
            raise StorageError(f"{self.uri(prefix)} lists more than {self.most_objects} objects")
        # an untrusted store may list other keys
        return {
            each.object_name: each.size
            for each in first
            if each.object_name is not None
            and each.object_name.startswith(prefix)
            and each.size is not None
            and not each.is_dir
        }

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; see `ObjectStore.delete`. Their versions remain."""
        wanted = [DeleteObject(key) for key in keys]
        with self._translated(""):
            failed = list(self.client().remove_objects(self.bucket, wanted))
        if failed:
            raise self._not_deleted(failed)

    def uri(self, key: str) -> str:
        """Name an object; see `ObjectStore.uri`."""
        return f"s3://{self.bucket}/{key}"

    def client(self) -> Minio:
        """Return this process's SDK client, for operations beyond this class."""
        mine = self._clients.get(os.getpid())
        return mine or self._clients.setdefault(os.getpid(), self._new_client())

    def target(self) -> S3Target:
        """Return the store's description for messages."""
        return S3Target(self.endpoint, self.bucket, self.settings, self.session_token is not None)

    def retries(self) -> StoreRetry:
        """Return the retry policy of a request."""
        return StoreRetry.of(self.stall_seconds, self.endpoint)

    def _new_client(self) -> Minio:
        url, retries = urlsplit(self.endpoint), self.retries()
        client = Minio(
            url.netloc,
            access_key=self.access_key,
            secret_key=self.secret_key,
            session_token=self.session_token,
            secure=url.scheme == "https",
            region=self.region,
            http_client=connections(self.endpoint, self.ca_file, retries),
        )
        if self.path_style:
            client.disable_virtual_style_endpoint()  # type: ignore[no-untyped-call]
        else:
            client.enable_virtual_style_endpoint()  # type: ignore[no-untyped-call]
        return client

    def _translated(self, key: str) -> AbstractContextManager[None]:
        return translate_errors(self.target(), self.uri(key))

    def _read(self, key: str, most: int, **only: Any) -> bytes:
        response = self.client().get_object(self.bucket, key, **only)
        try:
            # the stored bytes: an untrusted store may claim that they are compressed
            return read_whole(response, most, decode=False)
        except TooLargeError as error:
            raise too_large(self.uri(key), most) from error

    def _missing(self, key: str) -> bool:
        try:
            listed = self.client().list_objects(self.bucket, prefix=key, recursive=True)
            return all(each.object_name != key for each in listed)
        except S3Error as error:
            if refused(error):
                return False
            raise

    def _not_deleted(self, failed: list[DeleteError]) -> StorageError:
        first = failed[0]
        kind = NotAllowedError if first.code == "AccessDenied" else StorageError
        return kind(
            f"the store did not delete {self.uri(first.name or '')} ({first.code}) "
            f"and {len(failed) - 1} more; check what this account was granted"
        )
