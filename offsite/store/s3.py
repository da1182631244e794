"""A store in a bucket of an S3 service, through the minio SDK.

Nothing is asked of the service but to put, get, list and delete below granted prefixes: no
location, no versions, no multipart upload.
"""

import io
import os
import re
import ssl
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from minio import Minio
from minio.deleteobjects import DeleteError, DeleteObject
from minio.error import S3Error

from offsite.errors import BundleError, InputError, NotAllowedError, NotFoundError, StorageError
from offsite.store.credentials import read_credentials
from offsite.store.folder import FolderStore
from offsite.store.objects import ObjectStore
from offsite.store.refusals import Place, refused, told_apart
from offsite.store.transport import Patience, connections, until_read

_BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_SMALLEST_PART = 5 * 1024 * 1024
_DEFAULT_PORTS = {"http": 80, "https": 443}
_STYLES = {"path": True, "virtual": False}


@dataclass(frozen=True)
class S3Store:
    """Objects in a bucket. The connections are each process's own, and not pickled."""

    endpoint: str
    """As `https://host:port`."""
    bucket: str
    access_key: str
    secret_key: str = field(repr=False)
    region: str = "us-east-1"
    """Given, not asked for: an account with few rights may not ask."""
    ca_file: str | None = None
    """The authorities to trust, in PEM; absent: the public ones."""
    path_style: bool = True
    """Whether the bucket stands in the path, or in the host's name."""
    stall_seconds: float = 120.0
    """How long a request may get nowhere. Much more than ten minutes outlives its signature."""
    settings: str = "OFFSITE_EXCHANGE"
    """The prefix of the environment's variables that this comes from, for messages."""
    _clients: dict[int, Minio] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __reduce__(self) -> tuple[type["S3Store"], tuple[Any, ...]]:
        """Pickle what it is made of, without connections."""
        return type(self), tuple(getattr(self, each.name) for each in fields(self) if each.init)

    def put(self, key: str, content: bytes) -> None:
        """Write an object; see `ObjectStore.put`."""
        with self._told_apart(key):
            self.client().put_object(
                self.bucket,
                key,
                io.BytesIO(content),
                len(content),
                part_size=max(len(content), _SMALLEST_PART),  # never in parts
            )

    def get(self, key: str, most: int) -> bytes:
        """Read an object; see `ObjectStore.get`."""
        with self._told_apart(key):
            try:
                return until_read(lambda: self._read(key, most), Patience.of(self.stall_seconds))
            except S3Error as error:
                # some stores say so of a missing key too, to those who may list or not
                if refused(error) and self._missing(key):
                    raise NotFoundError(f"there is no {self.uri(key)}") from error
                raise

    def sizes(self, prefix: str) -> dict[str, int]:
        """List objects; see `ObjectStore.sizes`."""
        with self._told_apart(prefix):
            listed = self.client().list_objects(self.bucket, prefix=prefix, recursive=True)
            found = {each.object_name: each.size for each in listed if not each.is_dir}
        # a store is not trusted to list what it was asked for
        return {
            name: size
            for name, size in found.items()
            if name is not None and size is not None and name.startswith(prefix)
        }

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; see `ObjectStore.delete`. Their versions remain."""
        wanted = [DeleteObject(key) for key in keys]
        with self._told_apart(""):
            failed = list(self.client().remove_objects(self.bucket, wanted))
        if failed:
            raise self._not_deleted(failed)

    def uri(self, key: str) -> str:
        """Name an object; see `ObjectStore.uri`."""
        return f"s3://{self.bucket}/{key}"

    def client(self) -> Minio:
        """Give this process's client of the SDK, for what a store does not do."""
        mine = self._clients.get(os.getpid())
        return mine or self._clients.setdefault(os.getpid(), self._new_client())

    def place(self) -> Place:
        """Say where this is, for messages."""
        return Place(self.endpoint, self.bucket, self.settings)

    def _new_client(self) -> Minio:
        url, patience = urlsplit(self.endpoint), Patience.of(self.stall_seconds)
        client = Minio(
            url.netloc,
            access_key=self.access_key,
            secret_key=self.secret_key,
            secure=url.scheme == "https",
            region=self.region,
            http_client=connections(self.endpoint, self.ca_file, patience),
        )
        if self.path_style:
            client.disable_virtual_style_endpoint()  # type: ignore[no-untyped-call]
        else:
            client.enable_virtual_style_endpoint()  # type: ignore[no-untyped-call]
        return client

    def _told_apart(self, key: str) -> AbstractContextManager[None]:
        return told_apart(self.place(), self.uri(key))

    def _read(self, key: str, most: int) -> bytes:
        response = self.client().get_object(self.bucket, key)
        try:
            # the bytes as they were put: a store may not say that they are compressed
            content = response.read(most + 1, decode_content=False)
            if len(content) > most:
                raise BundleError(f"{self.uri(key)} is larger than {most} bytes")
            response.read(1)  # urllib3 tells only now that an answer broke off
            response.release_conn()
            return content
        finally:
            response.close()

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


def s3_store(uri: str, prefix: str, environ: Mapping[str, str]) -> S3Store:
    """Open the store of `s3://bucket` by what the environment says of it.

    Args:
        prefix: of the variables: `_ENDPOINT` and `_CREDENTIALS` (a file), and if need be `_REGION`,
            `_CA` (a file) and `_STYLE` (`path` or `virtual`).

    Raises:
        InputError: the URI, a variable or the credentials file is wrong, or one is missing.
    """
    found = re.fullmatch(f"s3://({_BUCKET})/?", uri)
    if found is None:
        raise InputError(f"{uri!r} names no bucket; use s3://bucket, without a path")
    missing = [name for name in ("_ENDPOINT", "_CREDENTIALS") if not environ.get(prefix + name)]
    if missing:
        names = " and ".join(prefix + name for name in missing)
        raise InputError(f"{uri} needs {names} in the environment")
    style = environ.get(f"{prefix}_STYLE") or "path"
    if style not in _STYLES:
        raise InputError(f"{prefix}_STYLE is {style!r}; use path or virtual")
    keys = read_credentials(Path(environ[f"{prefix}_CREDENTIALS"]).expanduser())
    try:
        store = S3Store(
            _endpoint(environ[f"{prefix}_ENDPOINT"], f"{prefix}_ENDPOINT"),
            found[1],
            keys.access_key,
            keys.secret_key,
            region=environ.get(f"{prefix}_REGION") or "us-east-1",
            ca_file=_authorities(environ.get(f"{prefix}_CA"), f"{prefix}_CA"),
            path_style=_STYLES[style],
            settings=prefix,
        )
        store.client()  # the SDK checks names when it is made
    except ValueError as error:
        raise InputError(f"{prefix}_ENDPOINT or {prefix}_REGION is wrong: {error}") from error
    return store


def _endpoint(url: str, setting: str) -> str:
    parts = urlsplit(url)
    plain = parts.path in ("", "/") and not parts.query and not parts.fragment
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or "@" in parts.netloc or not plain:
        raise InputError(f"{setting} is no endpoint; use https://host:port, and nothing behind it")
    return f"{parts.scheme}://{parts.netloc}"


def _authorities(path: str | None, setting: str) -> str | None:
    if not path:
        return None
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:  # ssl's own errors are such, too
        raise InputError(
            f"{setting} names {path}, which holds no certificates in PEM ({error})"
        ) from error
    return path


def refuse_same_place(exchange: ObjectStore, private: ObjectStore) -> None:
    """Check that what is to stay private does not lie where others may read.

    Raises:
        InputError: both stores are one bucket, or one's folder lies in the other's.
    """
    if isinstance(exchange, S3Store) and isinstance(private, S3Store):
        same = _where(exchange) == _where(private)
    elif isinstance(exchange, FolderStore) and isinstance(private, FolderStore):
        one, other = exchange.root.resolve(), private.root.resolve()
        same = one.is_relative_to(other) or other.is_relative_to(one)
    else:
        same = False
    if same:
        raise InputError(
            f"the exchange ({exchange.uri('')}) and the private store ({private.uri('')}) are one "
            "place; give each a bucket or a folder of its own"
        )


def _where(store: S3Store) -> tuple[str, int | None, str]:
    url = urlsplit(store.endpoint)
    return url.hostname or "", url.port or _DEFAULT_PORTS[url.scheme], store.bucket
