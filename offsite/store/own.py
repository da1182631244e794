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
    """Name the policy of a bucket's account, which is how the account's name begins."""
    return f"offsite-private.{bucket}"


def provide(store: S3Store, keys: Path, reissue: bool = False) -> str | None:
    """Make a bucket and its account, whatever of them is missing.

    Broken off, it can be done again: the file is written before its keys count.

    Args:
        store: the bucket, as the server's administrator.
        keys: the account's credentials file.
        reissue: whether to make another account in the place of the one that there is. It has
            another name: a session (STS) outlives its account's keys, and comes back with its name.

    Returns:
        the account, if its keys are new.

    Raises:
        InputError: the account is there and the file is not, or has the keys of another one.
        NoAdminError: the store has no admin API of MinIO; the bucket is made.
        NotAllowedError, UnreachableError, StorageError: the store refused it, or is away.
    """
    make_bucket(store)
    api, policy, is_new = AdminApi(store), policy_name(store.bucket), reissue or not keys.exists()
    known = [name for name in api.ask(lambda admin: admin.user_list()) if _is_of(name, policy)]
    place = keys.with_name(f"{keys.stem}.new{keys.suffix}") if reissue else keys
    drawn = None if is_new and not place.exists() else _read(place, policy)
    if known and not reissue and (drawn is None or drawn.access_key not in known):
        raise InputError(
            f"{store.uri('')} has an account already, and its keys are not at {keys}; name the "
            "file that has them, or end them: --reissue"
        )
    account = drawn or _draw(place, policy)
    api.set_user(account)
    api.attach(account.access_key, policy, bucket_policy(store.bucket))
    place.replace(keys)
    for former in {*known} - {account.access_key}:
        api.remove_user(former)
    return account.access_key if is_new else None


def _is_of(name: str, policy: str) -> bool:
    # no bucket's name has an underscore
    return re.fullmatch(rf"{re.escape(policy)}(_[0-9a-f]+)?", name) is not None


def _read(path: Path, policy: str) -> Credentials:
    keys = read_credentials(path)
    if not _is_of(keys.access_key, policy):
        raise InputError(f"{path} holds the keys of another account; move it away")
    return keys


def _draw(path: Path, policy: str) -> Credentials:
    keys = Credentials(f"{policy}_{secrets.token_hex(4)}", secrets.token_urlsafe(30))
    write_credentials(path, keys)
    return keys
