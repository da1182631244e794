"""Provisioning a party's private store on a MinIO: its bucket, and an account that has no other."""

from pathlib import Path

from offsite.errors import InputError
from offsite.store.admin_api import AdminApi
from offsite.store.bucket import make_bucket
from offsite.store.credentials import drawn_credentials
from offsite.store.policies import bucket_policy
from offsite.store.s3 import S3Store


def account_of(bucket: str) -> str:
    """Name the account of a bucket, and its policy."""
    return f"offsite-private.{bucket}"


def provide(store: S3Store, keys: Path, reissue: bool = False) -> bool:
    """Make a bucket and its account, whatever of them is missing; tell whether it has new keys.

    Broken off, it can be done again: the file is written before its keys count.

    Args:
        store: the bucket, as the server's administrator.
        keys: the account's credentials file.
        reissue: whether an account whose file is not there is to get others.

    Raises:
        InputError: the account is there and the file is not, or has the keys of another one.
        NoAdminError: the store has no admin API of MinIO; the bucket is made.
        NotAllowedError, UnreachableError, StorageError: the store refused it, or is away.
    """
    make_bucket(store)
    api, name, are_known = AdminApi(store), account_of(store.bucket), keys.exists()
    if api.user(name) is not None and not are_known and not reissue:
        raise InputError(
            f"{store.uri('')} has an account already, and its keys are not at {keys}; name the "
            "file that has them, or end them: --reissue"
        )
    api.set_user(drawn_credentials(keys, name))
    api.attach(name, name, bucket_policy(store.bucket))
    return not are_known
