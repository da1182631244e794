"""Opens stores by URI and environment, and keeps exchange and private store apart."""

import re
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from offsite.errors import InputError
from offsite.store.credentials import read_credentials
from offsite.store.disk import user_path
from offsite.store.folder import FolderStore
from offsite.store.objects import ObjectStore
from offsite.store.s3 import S3Store

_BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_DEFAULT_PORTS = {"http": 80, "https": 443}
_STYLES = {"path": True, "virtual": False}


def open_store(uri: str, prefix: str, environ: Mapping[str, str]) -> ObjectStore:
    """Open the store of a `file:///path` URI, a plain path, or `s3://bucket`.

    Args:
        prefix: Prefix of the environment variables for an S3 store.

    Raises:
        InputError: The address is not valid, or a variable is missing.
    """
    if uri.startswith("s3://"):
        return s3_store(uri, prefix, environ)
    # file://name/… would name another machine, and s3:/bucket is a typo
    if not uri or (_scheme(uri) and not uri.startswith("file:///")):
        raise InputError(
            f"{uri!r} is not a valid exchange address; use file:///path/of/a/folder or s3://bucket"
        )
    return FolderStore(user_path(uri).resolve())


def _scheme(uri: str) -> str:
    try:
        return urlsplit(uri).scheme
    except ValueError:  # not a URI, such as one with a bracket that is not closed
        return uri


def s3_store(uri: str, prefix: str, environ: Mapping[str, str]) -> S3Store:
    """Open the store `s3://bucket` with settings from the environment.

    Args:
        prefix: Prefix of the variables: `_ENDPOINT` and `_CREDENTIALS` (a file), optionally
            `_REGION`, `_CA` (a file) and `_STYLE` (`path` or `virtual`).

    Raises:
        InputError: The URI, a variable or the credentials file is wrong or missing.
    """
    found = re.fullmatch(f"s3://({_BUCKET})/?", uri)
    if found is None:
        raise InputError(
            f"{uri!r} is not a valid bucket address; use s3://NAME without a path, where NAME "
            "has 3 to 63 lower-case letters, digits, dots and dashes"
        )
    needed = (f"{prefix}_ENDPOINT", f"{prefix}_CREDENTIALS")
    missing = [name for name in needed if not environ.get(name)]
    if missing:
        raise InputError(f"{uri} needs {' and '.join(missing)} in the environment")
    style = environ.get(f"{prefix}_STYLE") or "path"
    if style not in _STYLES:
        raise InputError(f"{prefix}_STYLE is {style!r}; use path or virtual")
    path = Path(environ[needed[1]]).expanduser()
    keys = read_credentials(path, f"credentials file ({needed[1]})")
    try:
        store = S3Store(
            _endpoint(environ[needed[0]], needed[0]),
            found[1],
            keys.access_key,
            keys.secret_key,
            region=environ.get(f"{prefix}_REGION") or "us-east-1",
            ca_file=_authorities(environ.get(f"{prefix}_CA"), f"{prefix}_CA"),
            path_style=_STYLES[style],
            session_token=keys.session_token,
            settings=prefix,
        )
        store.client()  # the SDK validates names at construction
    except ValueError as error:
        raise InputError(f"{prefix}_ENDPOINT or {prefix}_REGION is wrong: {error}") from error
    return store


def _endpoint(url: str, setting: str) -> str:
    parts = urlsplit(url)
    plain = parts.path in ("", "/") and not parts.query and not parts.fragment
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or "@" in parts.netloc or not plain:
        raise InputError(f"{setting} must be http://host:port or https://host:port, without a path")
    return f"{parts.scheme}://{parts.netloc}"


def _authorities(path: str | None, setting: str) -> str | None:
    if not path:
        return None
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:  # includes SSLError
        raise InputError(
            f"{setting} names {path}, which has no PEM certificates ({error})"
        ) from error
    return path


def refuse_same_place(
    exchange: ObjectStore, private: ObjectStore, what: str = "the private store"
) -> None:
    """Check that the exchange, which others may read, is separate from a private place.

    Args:
        what: Name of the private place for the error.

    Raises:
        InputError: Both are one bucket, or one folder contains the other.
    """
    if isinstance(exchange, S3Store) and isinstance(private, S3Store):
        same = is_one_bucket(
            (exchange.bucket, exchange.endpoint), (private.bucket, private.endpoint)
        )
    elif isinstance(exchange, FolderStore) and isinstance(private, FolderStore):
        one, other = exchange.root.resolve(), private.root.resolve()
        same = one.is_relative_to(other) or other.is_relative_to(one)
    else:
        same = False
    if same:
        raise InputError(
            f"the exchange ({exchange.uri('')}) and {what} ({private.uri('')}) are the same place; "
            "choose another place for the exchange"
        )


def is_one_bucket(one: tuple[str, str], other: tuple[str, str]) -> bool:
    """Return whether two buckets are the same one, possibly under different host names.

    Args:
        one: A bucket's name, and its server's endpoint; `other` likewise.
    """
    if one[0] != other[0]:
        return False
    hosts, ports = zip(*(_server(endpoint) for _, endpoint in (one, other)), strict=True)
    return ports[0] == ports[1] and bool(hosts[0] & hosts[1])


def _server(endpoint: str) -> tuple[set[str], int]:
    url = urlsplit(endpoint)
    host, port = url.hostname or "", url.port or _DEFAULT_PORTS[url.scheme]
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:  # behind a proxy, which may resolve more names
        found = []
    return {host, *(str(address[0]) for *_, address in found)}, port
