"""Provisions a private store on MinIO: its bucket, and an account for that bucket only."""

import re
import secrets
from pathlib import Path

from offsite.errors import InputError
from offsite.store.admin_api import AdminApi
from offsite.store.bucket import make_bucket
from offsite.store.credentials import Credentials, read_credentials, write_credentials
from offsite.store.policies import bucket_policy
from offsite.store.s3 import S3Store


def policy_name(bucket: str) -> str:
    """Return the name of a bucket's policy, which is also the prefix of its account's name."""
    return f"offsite-private.{bucket}"


def provide(store: S3Store, keys: Path, reissue: bool = False) -> str | None:
    """Create a bucket and its account, if they are missing.

    A repeated call continues an interrupted one: the file is written before its keys are valid.

    Args:
        store: The bucket, with the administrator's credentials.
        keys: The account's credentials file.
        reissue: Whether to replace the account by one with another name: a session (STS) outlives
            its account's keys, and would be valid again for the same name.

    Returns:
        The account, if its keys are new.

    Raises:
        InputError: The account exists, but the file is missing or has another account's keys.
        NoAdminError: The store has no MinIO admin API; the bucket was created.
        NotAllowedError, UnreachableError, StorageError: The store refused, or does not answer.
    """
    make_bucket(store)
    api, policy, is_new = AdminApi(store), policy_name(store.bucket), reissue or not keys.exists()
    known = [name for name in api.ask(lambda admin: admin.user_list()) if _is_of(name, policy)]
    place = keys.with_name(f"{keys.stem}.new{keys.suffix}") if reissue else keys
    drawn = None if is_new and not place.exists() else _read(place, policy)
    if known and not reissue and (drawn is None or drawn.access_key not in known):
        raise InputError(
            f"{store.uri('')} already has an account, but its keys are not in {keys}; name the "
            "file that has them, or replace them: --reissue"
        )
    account = drawn or _draw(place, policy)
    api.set_user(account)
    api.attach(account.access_key, policy, bucket_policy(store.bucket))
    place.replace(keys)
    for former in {*known} - {account.access_key}:
        api.remove_user(former)
    return account.access_key if is_new else None


def _is_of(name: str, policy: str) -> bool:
    # bucket names have no underscores
    return re.fullmatch(rf"{re.escape(policy)}(_[0-9a-f]+)?", name) is not None


def _read(path: Path, policy: str) -> Credentials:
    keys = read_credentials(path)
    if not _is_of(keys.access_key, policy):
        raise InputError(f"{path} has the keys of another account; move it away")
    return keys


def _draw(path: Path, policy: str) -> Credentials:
    keys = Credentials(f"{policy}_{secrets.token_hex(4)}", secrets.token_urlsafe(30))
    write_credentials(path, keys)
    return keys
