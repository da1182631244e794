"""Creates buckets; for an exchange, with versioning and a lifecycle rule."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from minio.commonconfig import ENABLED, Filter
from minio.error import S3Error
from minio.lifecycleconfig import (
    AbortIncompleteMultipartUpload,
    Expiration,
    LifecycleConfig,
    NoncurrentVersionExpiration,
    Rule,
)
from minio.versioningconfig import VersioningConfig

from offsite.store.s3 import S3Store
from offsite.store.s3_errors import translate_errors

_RULE = "offsite-old-versions"
_DAYS = 7


@dataclass(frozen=True)
class BucketFacts:
    """The settings of an exchange's bucket."""

    versioned: bool
    expiring: bool
    """Whether old versions expire."""
    public: bool
    """Whether a policy of the bucket itself grants access to others, such as the public."""


def make_bucket(store: S3Store) -> None:
    """Create a bucket, unless it exists."""
    client = store.client()
    with _translated(store):
        if not client.bucket_exists(store.bucket):
            client.make_bucket(store.bucket)


def prepare_bucket(store: S3Store) -> None:
    """Create the bucket, with versioning and an expiry of old versions. Other rules stay."""
    client, bucket = store.client(), store.bucket
    make_bucket(store)
    with _translated(store):
        client.set_bucket_versioning(bucket, VersioningConfig(ENABLED))
        found = client.get_bucket_lifecycle(bucket)
        others = [rule for rule in found.rules if rule.rule_id != _RULE] if found else []
        client.set_bucket_lifecycle(bucket, LifecycleConfig([*others, _rule()]))


def bucket_facts(store: S3Store) -> BucketFacts:
    """Read the settings of the bucket."""
    client, name = store.client(), store.bucket
    with _translated(store):
        versioning = client.get_bucket_versioning(name).status
        lifecycle = client.get_bucket_lifecycle(name)
        rules = lifecycle.rules if lifecycle else []
        return BucketFacts(
            versioned=versioning == ENABLED,
            expiring=any(rule.rule_id == _RULE and rule.status == ENABLED for rule in rules),
            public=_has_policy(lambda: client.get_bucket_policy(name)),
        )


def _translated(store: S3Store) -> AbstractContextManager[None]:
    return translate_errors(store.target(), store.uri(""))


def _rule() -> Rule:
    return Rule(
        ENABLED,
        rule_filter=Filter(prefix=""),
        rule_id=_RULE,
        noncurrent_version_expiration=NoncurrentVersionExpiration(noncurrent_days=_DAYS),
        # removes delete markers after their versions have expired
        expiration=Expiration(expired_object_delete_marker=True),
        abort_incomplete_multipart_upload=AbortIncompleteMultipartUpload(_DAYS),
    )


def _has_policy(read: Callable[[], str]) -> bool:
    try:
        return bool(read())
    except S3Error as error:
        if error.code == "NoSuchBucketPolicy":
            return False
        raise
