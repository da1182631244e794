"""Retries of requests to a store, by urllib3.

A request fails when it has made no progress for a span of time, regardless of the number of tries,
and not because the link is slow. Long waits are logged.
"""

import logging
import ssl
import time
from collections.abc import Callable
from typing import Any, Self, TypeVar

from urllib3 import Retry
from urllib3.exceptions import (
    ConnectTimeoutError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)

_BUSY = (429, 500, 502, 503, 504)
_LONGEST_PAUSE = 8.0
_SILENT = 5.0
"""Seconds of failures before a warning is logged."""
_warned_at = dict[str, float]()
"""Time of the last warning for each store: of many requests at once, one logs it."""

Answer = TypeVar("Answer")
log = logging.getLogger(__name__)


class StoreRetry(Retry):
    """Retries with growing pauses, until a request has failed for a span of time."""

    seconds = 0.0
    place = ""
    _failing_since: float | None = None

    @classmethod
    def of(cls, seconds: float, place: str) -> Self:
        """Create retries for a span in seconds; `place` names the store in warnings."""
        longest = min(_LONGEST_PAUSE, seconds / 8)
        retries = cls(
            total=None,
            redirect=False,  # stores do not redirect
            allowed_methods=None,
            status_forcelist=_BUSY,
            backoff_factor=longest / 32,
            backoff_max=longest,
            backoff_jitter=longest / 8,
            retry_after_max=max(1, round(longest)),  # MinIO asks for a minute while it starts
        )
        retries.seconds, retries.place = seconds, place
        return retries

    def new(self, **changes: Any) -> Self:
        """Return the retries left after a failure."""
        left = super().new(**changes)
        left.seconds, left.place = self.seconds, self.place
        left._failing_since = self._failing_since or time.monotonic() - left._waited()
        left._warn(time.monotonic())
        return left

    def is_exhausted(self) -> bool:
        """Return whether to give up."""
        since = self._failing_since or time.monotonic()
        return (
            super().is_exhausted() or self._hopeless() or time.monotonic() - since >= self.seconds
        )

    @property
    def silence(self) -> float:
        """Timeout of one try for the next bytes: half the span, so that it allows two tries."""
        return self.seconds / 2

    def _warn(self, now: float) -> None:
        failing = now - (self._failing_since or now)
        is_recent = now - _warned_at.get(self.place, float("-inf")) < self.seconds
        if failing >= min(_SILENT, self.seconds / 4) and not is_recent and not self.is_exhausted():
            _warned_at[self.place] = now
            message = "offsite: %s does not answer; retrying for another %.0f s"
            log.warning(message, self.place, self.seconds - failing)

    def _waited(self) -> float:
        last = self._last()
        silent = isinstance(last, ReadTimeoutError | ConnectTimeoutError | TimeoutError)
        # urllib3 also reports a refused connection as a timeout
        return self.silence if silent and not isinstance(last, NewConnectionError) else 0.0

    def _hopeless(self) -> bool:
        error = self._last()
        return isinstance(error, SSLError) and tls_refused(error)

    def _last(self) -> Exception | None:
        return self.history[-1].error if self.history else None


def tls_refused(error: SSLError) -> bool:
    """Return whether a certificate is not trusted or the server has no TLS, unlike a broken
    connection.
    """
    cause = error.args[0] if error.args else None
    return isinstance(cause, ssl.SSLCertVerificationError) or "WRONG_VERSION_NUMBER" in str(cause)


def until_read(read: Callable[[], Answer], retries: StoreRetry) -> Answer:
    """Repeat a read whose answer breaks off.

    urllib3 retries a request until its answer begins; the reader handles later interruptions.

    Raises:
        MaxRetryError: It kept failing for too long.
    """
    while True:
        try:
            return read()
        except (ReadTimeoutError, ProtocolError) as error:
            retries = retries.increment("GET", error=error)
            retries.sleep()
