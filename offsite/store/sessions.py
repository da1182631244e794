"""Temporary credentials (STS) for a part of a private S3 store, by a session policy.

A session may do what both its policy and its account allow. It expires, or ends with its account's
keys. MinIO gives sessions to every account; other stores require roles, or have no sessions.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from json import dumps
from xml.etree.ElementTree import ParseError

from minio.credentials.providers import AssumeRoleProvider
from urllib3.exceptions import HTTPError

from offsite.errors import InputError, NotAllowedError, UnreachableError
from offsite.store.credentials import Credentials
from offsite.store.policies import Policy
from offsite.store.s3 import S3Store
from offsite.store.transport import connections

LONGEST = 7 * 24 * 3600
"""MinIO's limit in seconds."""
_SPECIAL = frozenset("*?$")
"""Special characters in a policy."""


@dataclass(frozen=True)
class Part:
    """A part of a store: `bucket/prefix/` with everything below it, or one object."""

    bucket: str
    key: str
    writes: bool = False

    @classmethod
    def of(cls, place: str, *, folder: bool, writes: bool = False) -> "Part":
        """Parse a location, `s3://bucket/key`.

        Raises:
            InputError: A policy cannot express it.
        """
        bucket, _, key = place.removeprefix("s3://").partition("/")
        if _SPECIAL & {*key}:
            raise InputError(f"{place!r} cannot be shared with a pod: rename it without *, ? and $")
        return cls(bucket, f"{key.rstrip('/')}/" if folder else key, writes)

    @property
    def pattern(self) -> str:
        """The pattern of its objects' keys."""
        return f"{self.key}*" if self.key.endswith("/") else self.key


def session_policy(parts: Iterable[Part]) -> Policy:
    """Build the policy of a session that has access to some parts of a store."""
    every = sorted(set(parts), key=lambda part: (part.bucket, part.key))
    buckets = sorted({part.bucket for part in every})
    return {
        "Version": "2012-10-17",
        "Statement": [
            *(_uses([p for p in every if p.writes is writes], writes) for writes in (False, True)),
            *(_lists(bucket, [p for p in every if p.bucket == bucket]) for bucket in buckets),
        ],
    }


def _uses(parts: list[Part], writes: bool) -> Policy:
    large = ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    actions = ["s3:GetObject", *(large if writes else [])]
    names = [f"arn:aws:s3:::{part.bucket}/{part.pattern}" for part in parts]
    return {"Effect": "Allow", "Action": actions, "Resource": names}


def _lists(bucket: str, parts: list[Part]) -> Policy:
    # as in `policies`: requires a prefix, and allows no others
    prefixes = {"s3:prefix": [part.pattern for part in parts]}
    return {
        "Effect": "Allow",
        "Action": ["s3:ListBucket"],
        "Resource": [f"arn:aws:s3:::{bucket}"],
        "Condition": {"StringLike": prefixes, "ForAllValues:StringLike": prefixes},
    }


def lend(store: S3Store, policy: Policy, seconds: int = LONGEST) -> Credentials:
    """Request the credentials of a session.

    Raises:
        NotAllowedError: The store gives this account no sessions.
        InputError: It has no sessions, or not with such a policy.
        UnreachableError: It does not answer.
    """
    target = store.target()
    provider = AssumeRoleProvider(
        sts_endpoint=store.endpoint,
        access_key=store.access_key,
        secret_key=store.secret_key,
        duration_seconds=min(seconds, LONGEST),
        policy=dumps(policy, separators=(",", ":")),
        region=store.region,
        http_client=connections(store.endpoint, store.ca_file, store.retries()),
    )
    remedy = "; set private.sessions: false in the chart's values if it has no sessions (STS)"
    try:
        got = provider.retrieve()
    except HTTPError as error:
        raise UnreachableError(f"cannot get a session from {target.endpoint}: {error}") from error
    except (ValueError, ParseError) as error:
        # the SDK reports a refusal only by its status
        kind = NotAllowedError if "403" in str(error) else InputError
        raise kind(f"{target.endpoint} gives this account no session: {error}{remedy}") from error
    return Credentials(got.access_key, got.secret_key, got.session_token)
