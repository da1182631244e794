"""How requests to an S3 store survive a bad network: urllib3's pool and retries, set to patience.

A request is given up when it has got nowhere for a span of time, not after a number of tries, and
not because the link is slow. Nothing here knows S3.
"""

import io
import os
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any, Self, TypeVar
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
    Retry,
)
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.util import Timeout, make_headers

_BUSY = (429, 500, 502, 503, 504)
_LONGEST_PAUSE = 8.0
_PIECE = 64 * 1024
_CONNECTIONS = 32
_LARGEST_ANSWER = 16 << 20
"""Of what is no object: a page of a listing, an error."""
_OBJECT = (200, 206)
_FRAME = ("content-encoding", "transfer-encoding")
"""Headers that say how a body was sent, and nothing of one that was read."""

Answer = TypeVar("Answer")


class TooLargeError(HTTPError):
    """An answer is larger than what was asked for can be."""


class Patience(Retry):
    """Retries with growing pauses until a request has failed for a span of time."""

    seconds = 0.0
    _failing_since: float | None = None

    @classmethod
    def of(cls, seconds: float) -> Self:
        """Make the retries that give up after so many seconds."""
        longest = min(_LONGEST_PAUSE, seconds / 8)
        patience = cls(
            total=None,
            redirect=False,  # a store does not send us elsewhere
            allowed_methods=None,
            status_forcelist=_BUSY,
            backoff_factor=longest / 32,
            backoff_max=longest,
            backoff_jitter=longest / 8,
            retry_after_max=max(1, round(longest)),  # MinIO asks for a minute while it starts
        )
        patience.seconds = seconds
        return patience

    def new(self, **changes: Any) -> Self:
        """Make the retries that are left after a failure."""
        left = super().new(**changes)
        left.seconds = self.seconds
        left._failing_since = self._failing_since or time.monotonic() - left._waited()
        return left

    def is_exhausted(self) -> bool:
        """Tell whether it is time to give up."""
        since = self._failing_since or time.monotonic()
        return (
            super().is_exhausted() or self._hopeless() or time.monotonic() - since >= self.seconds
        )

    @property
    def silence(self) -> float:
        """How long one try waits for the next bytes: so long that two make the whole span."""
        return self.seconds / 2

    def _waited(self) -> float:
        last = self._last()
        silent = isinstance(last, ReadTimeoutError | ConnectTimeoutError | TimeoutError)
        # a connection that is refused at once is a timeout, too, to urllib3
        return self.silence if silent and not isinstance(last, NewConnectionError) else 0.0

    def _hopeless(self) -> bool:
        error = self._last()
        return isinstance(error, SSLError) and tls_refused(error)

    def _last(self) -> Exception | None:
        return self.history[-1].error if self.history else None


def tls_refused(error: SSLError) -> bool:
    """Tell a certificate that is not trusted, or no TLS at all, from a connection that broke."""
    cause = error.args[0] if error.args else None
    return isinstance(cause, ssl.SSLCertVerificationError) or "WRONG_VERSION_NUMBER" in str(cause)


def until_read(read: Callable[[], Answer], patience: Patience) -> Answer:
    """Call what reads an answer again when the answer breaks off.

    urllib3 retries a request until its answer begins; what breaks off later is the reader's.

    Raises:
        MaxRetryError: it broke off for too long.
    """
    while True:
        try:
            return read()
        except (ReadTimeoutError, ProtocolError) as error:
            patience = patience.increment("GET", error=error)
            patience.sleep()


def read_whole(answer: BaseHTTPResponse, most: int, decode: bool) -> bytes:
    """Read an answer to its end.

    Args:
        decode: whether to undo a compression that the answer says it has.

    Raises:
        TooLargeError: it has more than `most` bytes; no more than that were read.
    """
    try:
        content = answer.read(most + 1, decode_content=decode)
        if len(content) > most:
            raise TooLargeError(f"an answer is larger than {most} bytes")
        answer.read(1)  # urllib3 tells only now that an answer broke off
        answer.release_conn()
        return content
    finally:
        answer.close()


def connections(url: str, ca_file: str | None, patience: Patience) -> PoolManager:
    """Make the pool of connections to a store, through the proxy that the environment names.

    Args:
        ca_file: the authorities to trust, in PEM; absent: the public ones.
    """
    options: dict[str, Any] = {
        "maxsize": _CONNECTIONS,
        "timeout": Timeout(connect=patience.silence, read=patience.silence),
        "retries": patience,
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
    """What is not an object comes whole, as the SDK wants it, but is of no size it likes."""

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
        enforce_content_length=False,  # of a HEAD it tells the size of what was not sent
    )


class _CappedProxy(_Capped, ProxyManager):
    pass


# The socket's timeout is for one `sendall`. A whole shard in one, as urllib3 sends it, would fail
# on a link that is slow but moves.
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
