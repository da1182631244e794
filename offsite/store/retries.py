"""Retries of requests to a store, by urllib3.

A request is given up when it has got nowhere for a span of time, not after a number of tries, and
not because the link is slow. Who waits is told so.
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
"""Seconds for which a request may fail before anybody is told."""
_told = dict[str, float]()
"""When it was said that a store is waited for: of a dozen requests at once, one says it."""

Answer = TypeVar("Answer")
log = logging.getLogger(__name__)


class StoreRetry(Retry):
    """Retries with growing pauses until a request has failed for a span of time."""

    seconds = 0.0
    place = ""
    _failing_since: float | None = None

    @classmethod
    def of(cls, seconds: float, place: str) -> Self:
        """Make the retries that give up after so many seconds; `place` says who does not answer."""
        longest = min(_LONGEST_PAUSE, seconds / 8)
        retries = cls(
            total=None,
            redirect=False,  # a store does not send us elsewhere
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
        """Make the retries that are left after a failure."""
        left = super().new(**changes)
        left.seconds, left.place = self.seconds, self.place
        left._failing_since = self._failing_since or time.monotonic() - left._waited()
        left._tell(time.monotonic())
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

    def _tell(self, now: float) -> None:
        failing = now - (self._failing_since or now)
        is_said = now - _told.get(self.place, float("-inf")) < self.seconds
        if failing >= min(_SILENT, self.seconds / 4) and not is_said and not self.is_exhausted():
            _told[self.place] = now
            said = "offsite: %s does not answer; retrying for another %.0f s"
            log.warning(said, self.place, self.seconds - failing)

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


def until_read(read: Callable[[], Answer], retries: StoreRetry) -> Answer:
    """Call what reads an answer again when the answer breaks off.

    urllib3 retries a request until its answer begins; what breaks off later is the reader's.

    Raises:
        MaxRetryError: it broke off for too long.
    """
    while True:
        try:
            return read()
        except (ReadTimeoutError, ProtocolError) as error:
            retries = retries.increment("GET", error=error)
            retries.sleep()
