"""The connections to an S3 store: urllib3's, with limits on what they read. Independent of S3."""

import io
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi
from urllib3 import (
    BaseHTTPResponse,
    HTTPConnectionPool,
    HTTPResponse,
    HTTPSConnectionPool,
    PoolManager,
    ProxyManager,
)
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.util import Timeout, make_headers

from offsite.store.retries import StoreRetry, until_read

_PIECE = 64 * 1024
_CONNECTIONS = 32
_LARGEST_ANSWER = 16 << 20
"""Limit for answers that are not objects: a page of a listing, an error."""
_OBJECT = (200, 206)
_FRAME = ("content-encoding", "transfer-encoding")
"""Headers about the transfer of a body, which do not apply after it was read."""


class TooLargeError(HTTPError):
    """An answer is larger than allowed."""


def read_whole(answer: BaseHTTPResponse, most: int, decode: bool) -> bytes:
    """Read an answer to its end.

    Args:
        decode: Whether to decompress the answer, as its headers request.

    Raises:
        TooLargeError: It has more than `most` bytes; no more than that were read.
    """
    try:
        content = answer.read(most + 1, decode_content=decode)
        if len(content) > most:
            raise TooLargeError(f"an answer is larger than {most} bytes")
        answer.read(1)  # urllib3 reports an interrupted answer only here
        answer.release_conn()
        return content
    finally:
        answer.close()


def connections(url: str, ca_file: str | None, retries: StoreRetry) -> PoolManager:
    """Create the connection pool of a store, with the proxy that the environment names.

    Args:
        ca_file: Trusted certificate authorities in PEM; None: the public ones.
    """
    options: dict[str, Any] = {
        "maxsize": _CONNECTIONS,
        "timeout": Timeout(connect=retries.silence, read=retries.silence),
        "retries": retries,
        "cert_reqs": "CERT_REQUIRED",
        "ca_certs": ca_file or os.environ.get("SSL_CERT_FILE") or certifi.where(),
    }
    proxy = _proxy(url)
    pool = (
        _CappedProxy(proxy, proxy_headers=_login(proxy), **options) if proxy else _Capped(**options)
    )
    pool.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}  # noqa: V101 - urllib3's
    return pool


def _proxy(url: str) -> str | None:
    place = urlsplit(url)
    if proxy_bypass(place.netloc):
        return None
    return getproxies().get(place.scheme) or None


def _login(proxy: str) -> dict[str, str]:
    parts = urlsplit(proxy)
    if not parts.username:
        return {}
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return dict(make_headers(proxy_basic_auth=login))


class _Capped(PoolManager):
    """Reads answers other than objects into memory, as the SDK expects, up to a size limit."""

    def urlopen(  # type: ignore[override]
        self, method: str, url: str, redirect: bool = True, **options: Any
    ) -> BaseHTTPResponse:
        streamed = options.pop("preload_content", True) is False

        def ask() -> BaseHTTPResponse:
            answer = super(_Capped, self).urlopen(
                method, url, redirect, preload_content=False, **options
            )
            return answer if streamed and answer.status in _OBJECT else _in_memory(answer)

        return until_read(ask, self.connection_pool_kw["retries"])


def _in_memory(answer: BaseHTTPResponse) -> HTTPResponse:
    content = read_whole(answer, _LARGEST_ANSWER, decode=True)
    headers = {name: value for name, value in answer.headers.items() if name.lower() not in _FRAME}
    return HTTPResponse(
        io.BytesIO(content),
        headers,
        answer.status,
        reason=answer.reason,
        enforce_content_length=False,  # a HEAD answer has a size without a body
    )


class _CappedProxy(_Capped, ProxyManager):
    pass


# The socket's timeout applies to one `sendall`. urllib3 would send a whole shard in one call, which
# fails on a slow link that still makes progress.
def _pieces(data: Any) -> Iterator[Any]:
    if not isinstance(data, bytes):
        yield data
        return
    whole = memoryview(data)
    for start in range(0, len(whole), _PIECE):
        yield whole[start : start + _PIECE]


class _Connection(HTTPConnection):
    def send(self, data: Any) -> None:
        for piece in _pieces(data):
            super().send(piece)


class _SecureConnection(HTTPSConnection):
    def send(self, data: Any) -> None:
        for piece in _pieces(data):
            super().send(piece)


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection  # noqa: V107 - urllib3 reads it


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection  # noqa: V107 - urllib3 reads it
