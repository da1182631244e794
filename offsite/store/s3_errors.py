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
"""Error codes for wrong credentials."""
_FULL = ("XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "QuotaExceeded")
_WRONG_REGION = ("AuthorizationHeaderMalformed", "PermanentRedirect", "InvalidRegion")
_REFUSED = 403


@dataclass(frozen=True)
class S3Target:
    """The target of a request, for messages."""

    endpoint: str
    bucket: str
    settings: str
    """Prefix of the environment variables that describe the store."""
    lent: bool = False
    """Whether the request used session credentials."""

    def how(self, command: str) -> str:
        """Suggest an `offsite exchange` command, if this is an exchange."""
        return f": offsite exchange {command}" if self.settings == "OFFSITE_EXCHANGE" else ""


@contextmanager
def translate_errors(target: S3Target, uri: str) -> Iterator[None]:
    """Translate the SDK's exceptions to our error classes, with a remedy.

    Raises:
        NotFoundError: The object does not exist.
        NotAllowedError: Wrong credentials, no permission, a wrong clock, or TLS.
        UnreachableError: The store does not answer, or not in time.
        DiskFullError: The store or the bucket's quota is full.
        InputError: The bucket does not exist, or the endpoint is not an S3 store.
        StorageError: Any other refusal.
    """
    try:
        yield
    except S3Error as error:
        raise _refusal(error, target, uri) from error
    except TooLargeError as error:
        raise StorageError(f"{target.endpoint} answered for {uri}: {error}") from error
    # the SDK does not catch invalid values in answers (sizes, dates)
    except (
        *(InvalidResponseError, ServerError, ParseError),
        *(ValueError, TypeError, OverflowError),
    ) as error:
        raise InputError(
            f"the server at {target.endpoint} is not an S3 store; check {target.settings}_ENDPOINT "
            "(http or https, host and port)"
        ) from error
    except HTTPError as error:
        raise _unreachable(error, target) from error


def refused(error: S3Error) -> bool:
    """Return whether the store denied access, unlike other refusals."""
    return error.code == "AccessDenied"


def _refusal(error: S3Error, target: S3Target, uri: str) -> OffsiteError:
    code = error.code or ""
    if code == "NoSuchKey":
        return NotFoundError(f"there is no {uri}")
    if code == "NoSuchBucket":
        return InputError(
            f"there is no bucket {target.bucket} at {target.endpoint}; check its name, or create "
            f"it{target.how(f'init s3://{target.bucket}')}"
        )
    if code == "RequestTimeTooSkewed":
        return NotAllowedError(_clock(error, target))
    if code in WRONG_KEYS and target.lent:
        return StorageError(
            f"the session at {target.endpoint} has expired ({code}); the next attempt "
            "starts a new one"
        )
    if code in WRONG_KEYS:
        return NotAllowedError(
            f"{target.endpoint} does not accept these credentials ({code}); check the file that "
            f"{target.settings}_CREDENTIALS names"
        )
    if code in _WRONG_REGION:
        return NotAllowedError(
            f"{target.endpoint} is not in this region ({error.message}); "
            f"set {target.settings}_REGION"
        )
    if code in _FULL:
        return DiskFullError(f"no space is left for {uri} ({code}); free some space in the store")
    return _other(error, target, uri)


def _other(error: S3Error, target: S3Target, uri: str) -> OffsiteError:
    if refused(error) or error.response.status == _REFUSED:
        # stores do not reveal whether a bucket exists to accounts without any grant
        return NotAllowedError(
            f"this account has no permission for {uri} ({error.code}), or there is "
            f"no bucket {target.bucket}; check the bucket's name, or ask the store's administrator "
            "for the "
            f"grant{target.how('grant')}"
        )
    return StorageError(f"the store refused {uri}: {error.code}: {error.message}")


def _clock(error: S3Error, target: S3Target) -> str:
    date = error.response.headers.get("Date")
    if not date:
        return f"the clock of this machine differs from that of {target.endpoint}; correct it"
    # the clock that signed the request
    off = (minio_time.utcnow() - parsedate_to_datetime(date)).total_seconds()
    way = "ahead of" if off > 0 else "behind"
    return (
        f"the clock of this machine is {abs(off) / 60:.0f} minutes {way} that of "
        f"{target.endpoint}; correct it"
    )


def _unreachable(error: HTTPError, target: S3Target) -> OffsiteError:
    reason = (error.reason if isinstance(error, MaxRetryError) else None) or error
    if isinstance(reason, SSLError) and tls_refused(reason):
        return NotAllowedError(
            f"the TLS certificate of {target.endpoint} is not trusted ({_short(reason)}); if its "
            f"authority is your own, name its file in {target.settings}_CA"
        )
    return UnreachableError(
        f"cannot reach {target.endpoint} ({_short(reason)}); check that it runs, "
        f"{target.settings}_ENDPOINT, and the network (proxy, firewall)"
    )


def _short(reason: Exception) -> str:
    """Drop urllib3's prefix with the connection."""
    return re.sub(r"^\w+\(host=[^)]*\): ", "", str(reason))
