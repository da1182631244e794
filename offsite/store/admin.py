"""Provisioning an exchange: its bucket, an account for each party, and who may read from whom.

All of it can be done again. Nothing is remembered here: what was granted stands in the policies on
the server. Two administrators who change one party's grants at once are theirs to avoid.
"""

import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

from offsite.errors import InputError
from offsite.store.admin_api import AdminApi
from offsite.store.credentials import Credentials, read_credentials, write_credentials
from offsite.store.policies import (
    account_name,
    check_party,
    minio_policy_of,
    party_of,
    peers_in,
    same_policy,
)
from offsite.store.refusals import told_apart
from offsite.store.s3 import S3Store

_RULE = "offsite-old-versions"
_DAYS = 7
_NO_USER, _NO_POLICY = "XMinioAdminNoSuchUser", "XMinioAdminNoSuchPolicy"
_ATTACHED = "XMinioAdminPolicyChangeAlreadyApplied"


@dataclass(frozen=True)
class Account:
    """What the server says of a party's account."""

    party: str
    name: str
    """Its access key."""
    reads_from: tuple[str, ...]
    status: str
    """`enabled`, `disabled` or, of a policy without an account, `missing`."""
    changed: bool
    """Whether its policy is not what was written here: changed by hand, or by another version."""
    other_policies: tuple[str, ...]
    """What else was attached to it, by somebody else."""


@dataclass(frozen=True)
class BucketFacts:
    """How an exchange's bucket stands."""

    versioned: bool
    expiring: bool
    """Whether old versions expire."""
    public: bool
    """Whether a policy of the bucket itself lets in others, such as everybody."""


@dataclass(frozen=True)
class ExchangeAdmin:
    """The administrator of an exchange. The store holds his credentials.

    Every method raises `NotAllowedError`, `UnreachableError`, `InputError` and `StorageError` as
    `told_apart` does, and those of accounts `NoAdminError`.
    """

    store: S3Store

    @property
    def _api(self) -> AdminApi:
        return AdminApi(self.store)

    def _told_apart(self) -> AbstractContextManager[None]:
        return told_apart(self.store.place(), self.store.uri(""))

    def prepare(self) -> None:
        """Make the bucket; keep the old versions of its objects for some days."""
        client, bucket = self.store.client(), self.store.bucket
        with self._told_apart():
            if not client.bucket_exists(bucket):
                client.make_bucket(bucket)
            client.set_bucket_versioning(bucket, VersioningConfig(ENABLED))
            found = client.get_bucket_lifecycle(bucket)
            others = [rule for rule in found.rules if rule.rule_id != _RULE] if found else []
            client.set_bucket_lifecycle(bucket, LifecycleConfig([*others, _rule()]))

    def bucket(self) -> BucketFacts:
        """Read how the bucket stands."""
        client, name = self.store.client(), self.store.bucket
        with self._told_apart():
            versioning = client.get_bucket_versioning(name).status
            lifecycle = client.get_bucket_lifecycle(name)
            rules = lifecycle.rules if lifecycle else []
            return BucketFacts(
                versioned=versioning == ENABLED,
                expiring=any(rule.rule_id == _RULE and rule.status == ENABLED for rule in rules),
                public=_has_policy(lambda: client.get_bucket_policy(name)),
            )

    def grant(self, party: str, peer: str, folder: Path | None = None) -> list[Path]:
        """Let a party read what a peer sends to it; make the accounts that are new.

        Args:
            folder: where the credentials of new accounts go, a file `<party>.json` each.

        Returns:
            The credentials files that were written.
        """
        _check_pair(party, peer)
        written = [self._account(each, folder) for each in (party, peer)]
        granted = {*(self._granted(party) or ()), peer}
        self._write(party, tuple(granted))
        return [path for path in written if path]

    def revoke(self, party: str, peer: str) -> bool:
        """Let a party read no more of what a peer sends to it; tell whether it could."""
        _check_pair(party, peer)
        granted = self._granted(party) or ()
        if peer not in granted:
            return False
        self._write(party, tuple(each for each in granted if each != peer))
        return True

    def accounts(self) -> list[Account]:
        """Read who may do what."""
        policies = self._api.ask(lambda admin: admin.policy_list())
        parties = {party_of(self.store.bucket, name): name for name in sorted(policies)}
        return [
            self._account_facts(party, policies[name]) for party, name in parties.items() if party
        ]

    def _account(self, party: str, folder: Path | None) -> Path | None:
        """Make an account if there is none, and attach its policy."""
        name, written = account_name(self.store.bucket, party), None
        if self._user(name) is None:
            written, keys = self._keys(name, party, folder)
            self._write(party, self._granted(party) or ())
            self._api.run(lambda admin: admin.user_add(name, keys.secret_key))
        elif self._granted(party) is None:
            self._write(party, ())
        self._api.run(lambda admin: admin.attach_policy([name], user=name), _ATTACHED)
        return written

    def _keys(self, name: str, party: str, folder: Path | None) -> tuple[Path, Credentials]:
        """Put the keys of a new account into a file, before anything is made that needs them."""
        if folder is None:
            raise InputError(
                f"{party} has no account yet; name a folder for its credentials: --credentials"
            )
        path = folder / f"{party}.json"
        if path.exists():  # of an attempt that was broken off
            keys = read_credentials(path)
            if keys.access_key != name:
                raise InputError(f"{path} holds the keys of another account; move it away")
            return path, keys
        keys = Credentials(name, secrets.token_urlsafe(30))
        write_credentials(path, keys)
        return path, keys

    def _account_facts(self, party: str, policy: dict[str, Any]) -> Account:
        name = account_name(self.store.bucket, party)
        user = self._user(name)
        attached = [each for each in (user or {}).get("policyName", "").split(",") if each]
        peers = peers_in(self.store.bucket, party, policy)
        status = "missing" if user is None or name not in attached else user["status"]
        return Account(
            party=party,
            name=name,
            reads_from=peers,
            status=status,
            changed=not same_policy(policy, minio_policy_of(self.store.bucket, party, peers)),
            other_policies=tuple(each for each in attached if each != name),
        )

    def _granted(self, party: str) -> tuple[str, ...] | None:
        name = account_name(self.store.bucket, party)
        policy = self._api.ask(lambda admin: admin.policy_info(name), _NO_POLICY)
        return None if policy is None else peers_in(self.store.bucket, party, policy)

    def _user(self, name: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self._api.ask(lambda admin: admin.user_info(name), _NO_USER)
        return found

    def _write(self, party: str, peers: tuple[str, ...]) -> None:
        policy = minio_policy_of(self.store.bucket, party, peers)
        name = account_name(self.store.bucket, party)
        self._api.run(lambda admin: admin.policy_add(name, policy=policy))


def _check_pair(party: str, peer: str) -> None:
    if check_party(party) == check_party(peer):
        raise InputError(f"{party} reads its own bundles anyway; name another party")


def _rule() -> Rule:
    return Rule(
        ENABLED,
        rule_filter=Filter(prefix=""),
        rule_id=_RULE,
        noncurrent_version_expiration=NoncurrentVersionExpiration(noncurrent_days=_DAYS),
        # what is left of a deleted object when its versions have expired
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
