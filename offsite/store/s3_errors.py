"""Translates the errors of an S3 store, each with a remedy."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from xml.etree.ElementTree import ParseError

from minio import time as minio_time
from minio.error import InvalidResponseError, S3Error, ServerError
from urllib3.exceptions import HTTPError, MaxRetryError, SSLError

from offsite.errors import (
    DiskFullError,
    InputError,
    NotAllowedError,
    NotFoundError,
    OffsiteError,
    StorageError,
    UnreachableError,
)
from offsite.store.retries import tls_refused
from offsite.store.transport import TooLargeError

WRONG_KEYS = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidTokenId", "ExpiredToken")
"""What is said of credentials that are not right."""
_FULL = ("XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "QuotaExceeded")
_WRONG_REGION = ("AuthorizationHeaderMalformed", "PermanentRedirect", "InvalidRegion")
_REFUSED = 403


@dataclass(frozen=True)
class Place:
    """Where a request went, in the words of messages."""

    endpoint: str
    bucket: str
    settings: str
    """The prefix of the environment's variables that say so."""
    lent: bool = False
    """Whether it was asked in a session, which ends."""

    def how(self, command: str) -> str:
        """Name the command of ours that helps, if this is an exchange."""
        return f": offsite exchange {command}" if self.settings == "OFFSITE_EXCHANGE" else ""


@contextmanager
def translate_errors(place: Place, uri: str) -> Iterator[None]:
    """Turn what the SDK raises into our errors, each with its remedy.

    Raises:
        NotFoundError: there is no such object.
        NotAllowedError: wrong credentials, no permission, a clock that is off, TLS.
        UnreachableError: the store cannot be reached, or answers nothing for too long.
        DiskFullError: the store, or what it lets this bucket have, is full.
        InputError: no such bucket, or no S3 store at that place.
        StorageError: anything else that the store refused.
    """
    try:
        yield
    except S3Error as error:
        raise _refusal(error, place, uri) from error
    except TooLargeError as error:
        raise StorageError(f"{place.endpoint} answered for {uri}: {error}") from error
    # nonsense in an answer (a size that is no number, a date of no calendar) the SDK does not catch
    except (
        *(InvalidResponseError, ServerError, ParseError),
        *(ValueError, TypeError, OverflowError),
    ) as error:
        raise InputError(
            f"what answers at {place.endpoint} is no S3 store; check {place.settings}_ENDPOINT "
            "(http or https, host and port)"
        ) from error
    except HTTPError as error:
        raise _unreachable(error, place) from error


def refused(error: S3Error) -> bool:
    """Tell "not allowed" from everything else that a store may refuse for."""
    return error.code == "AccessDenied"


def _refusal(error: S3Error, place: Place, uri: str) -> OffsiteError:
    code = error.code or ""
    if code == "NoSuchKey":
        return NotFoundError(f"there is no {uri}")
    if code == "NoSuchBucket":
        return InputError(
            f"there is no bucket {place.bucket} at {place.endpoint}; check its name, or have it "
            f"made{place.how(f'init s3://{place.bucket}')}"
        )
    if code == "RequestTimeTooSkewed":
        return NotAllowedError(_clock(error, place))
    if code in WRONG_KEYS and place.lent:
        return StorageError(
            f"{place.endpoint} does not know this session any more ({code}); the next attempt "
            "begins with another one"
        )
    if code in WRONG_KEYS:
        return NotAllowedError(
            f"{place.endpoint} does not know these credentials ({code}); check the file that "
            f"{place.settings}_CREDENTIALS names"
        )
    if code in _WRONG_REGION:
        return NotAllowedError(
            f"{place.endpoint} is not in this region ({error.message}); set {place.settings}_REGION"
        )
    if code in _FULL:
        return DiskFullError(f"no space is left for {uri} ({code}); make room in the store")
    return _other(error, place, uri)


def _other(error: S3Error, place: Place, uri: str) -> OffsiteError:
    if refused(error) or error.response.status == _REFUSED:
        # who was granted nothing of a bucket is not told whether there is one
        return NotAllowedError(
            f"this account may not use {uri} ({error.code}): it was not granted that, or there is "
            f"no bucket {place.bucket}; check the bucket's name, or ask who runs the store for the "
            f"grant{place.how('grant')}"
        )
    return StorageError(f"the store refused {uri}: {error.code}: {error.message}")


def _clock(error: S3Error, place: Place) -> str:
    told = error.response.headers.get("Date")
    if not told:
        return f"the clock of this machine is not that of {place.endpoint}; set it right"
    # the clock that the request was signed by
    off = (minio_time.utcnow() - parsedate_to_datetime(told)).total_seconds()
    way = "ahead of" if off > 0 else "behind"
    return (
        f"the clock of this machine is {abs(off) / 60:.0f} minutes {way} that of "
        f"{place.endpoint}; set it right"
    )


def _unreachable(error: HTTPError, place: Place) -> OffsiteError:
    reason = (error.reason if isinstance(error, MaxRetryError) else None) or error
    if isinstance(reason, SSLError) and tls_refused(reason):
        return NotAllowedError(
            f"the TLS certificate of {place.endpoint} is not trusted ({_short(reason)}); if its "
            f"authority is your own, name its file in {place.settings}_CA"
        )
    return UnreachableError(
        f"{place.endpoint} cannot be reached ({_short(reason)}); check that it runs, "
        f"{place.settings}_ENDPOINT, and the way there (proxy, firewall)"
    )


def _short(reason: Exception) -> str:
    """Leave out whose connection it was, which urllib3 begins with."""
    return re.sub(r"^\w+\(host=[^)]*\): ", "", str(reason))
