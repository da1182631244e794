"""Provisioning an exchange: its bucket, an account for each party, and who may read from whom.

All of it can be done again, and by two administrators at once. Nothing is remembered here: who may
read from whom is which policies are attached to an account on the server. Of two who make one
account, or change its secret, at the same moment, the credentials of the later one count.
"""

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offsite.errors import InputError
from offsite.store.admin_api import AdminApi
from offsite.store.bucket import BucketFacts, bucket_facts, prepare_bucket
from offsite.store.credentials import Credentials, read_credentials, write_credentials
from offsite.store.policies import (
    Policy,
    account_name,
    account_policy,
    check_party,
    grant_name,
    grant_policy,
    party_of,
    peers_in,
    same_policy,
)
from offsite.store.s3 import S3Store

_NO_USER, _SO_ALREADY = "XMinioAdminNoSuchUser", "XMinioAdminPolicyChangeAlreadyApplied"


@dataclass(frozen=True)
class Account:
    """What the server says of a party's account."""

    party: str
    name: str
    """Its access key."""
    reads_from: tuple[str, ...]
    status: str
    """`enabled` or `disabled`."""
    changed: bool
    """Whether a policy of it is not as written here: changed by hand, or another version's."""
    other_policies: tuple[str, ...]
    """What else was attached to it, by somebody else."""


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

    def prepare(self) -> None:
        """Make the bucket; keep the old versions of its objects for some days."""
        prepare_bucket(self.store)

    def bucket(self) -> BucketFacts:
        """Read how the bucket stands."""
        return bucket_facts(self.store)

    def grant(self, party: str, peer: str, folder: Path | None = None) -> list[Path]:
        """Let a party read what a peer sends to it; make the accounts that are new.

        Args:
            folder: where the credentials of new accounts go, a file `<party>.json` each.

        Returns:
            The credentials files that were written.
        """
        _check_pair(party, peer)
        written = [self._account(each, folder) for each in (party, peer)]
        bucket = self.store.bucket
        self._attach(party, grant_name(bucket, party, peer), grant_policy(bucket, party, peer))
        return [path for path in written if path]

    def revoke(self, party: str, peer: str) -> bool:
        """Let a party read no more of what a peer sends to it; tell whether it could."""
        _check_pair(party, peer)
        name, user = grant_name(self.store.bucket, party, peer), self._name(party)
        done = self._api.run(
            lambda admin: admin.detach_policy([name], user=user), _SO_ALREADY, _NO_USER
        )
        return done is not None

    def reissue(self, party: str, folder: Path) -> Path:
        """Give an account another secret key, in place of the one that it has.

        Broken off and done again, it goes on: the new key is kept beside the file until it counts.

        Args:
            folder: where the file `<party>.json` goes, in place of an older one.

        Raises:
            InputError: there is no such account, or the file has the keys of another one.
        """
        name, path = self._name(check_party(party)), folder / f"{party}.json"
        if self._user(name) is None:
            raise InputError(
                f"{party} has no account to reissue; `offsite exchange grant` makes it"
            )
        if path.exists():
            _own_keys(path, name)
        fresh = folder / f"{party}.new.json"
        keys = _keys(fresh, name)
        self._api.run(lambda admin: admin.user_add(name, keys.secret_key))
        fresh.replace(path)
        return path

    def remove(self, party: str) -> bool:
        """Remove an account with all that it was granted; tell whether there was one.

        What it sent stays, and so does what others were granted to read from it.
        """
        name, bucket = self._name(check_party(party)), self.store.bucket
        done = self._api.run(lambda admin: admin.user_remove(name), _NO_USER)
        left = self._api.ask(lambda admin: admin.policy_list())
        grants = [grant_name(bucket, party, peer) for peer in peers_in(bucket, party, left)]
        for policy in (name, *grants):
            self._drop(policy)
        return done is not None

    def accounts(self) -> list[Account]:
        """Read who may do what."""
        users = self._api.ask(lambda admin: admin.user_list())
        policies = self._api.ask(lambda admin: admin.policy_list())
        parties = {party_of(self.store.bucket, name): name for name in sorted(users)}
        return [
            self._account_facts(party, users[name], policies)
            for party, name in parties.items()
            if party
        ]

    def _account(self, party: str, folder: Path | None) -> Path | None:
        """Make an account if there is none, and attach the policy of its own folder."""
        name, written = self._name(party), None
        if self._user(name) is None:
            if folder is None:
                raise InputError(
                    f"{party} has no account yet; name a folder for its credentials: --credentials"
                )
            written = folder / f"{party}.json"
            # before anything is made that needs them
            keys = _keys(written, name)
            self._api.run(lambda admin: admin.user_add(name, keys.secret_key))
        self._attach(party, name, account_policy(self.store.bucket, party))
        return written

    def _account_facts(
        self, party: str, user: dict[str, Any], policies: dict[str, Policy]
    ) -> Account:
        bucket, name = self.store.bucket, self._name(party)
        attached = [each for each in user.get("policyName", "").split(",") if each]
        peers = peers_in(bucket, party, attached)
        due = {grant_name(bucket, party, peer): grant_policy(bucket, party, peer) for peer in peers}
        due[name] = account_policy(bucket, party)
        return Account(
            party=party,
            name=name,
            reads_from=peers,
            status=user["status"],
            changed=name not in attached
            or not all(same_policy(policies.get(each, {}), due[each]) for each in due),
            other_policies=tuple(each for each in attached if each not in due),
        )

    def _user(self, name: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self._api.ask(lambda admin: admin.user_info(name), _NO_USER)
        return found

    def _attach(self, party: str, name: str, policy: Policy) -> None:
        self._api.run(lambda admin: admin.policy_add(name, policy=policy))
        user = self._name(party)
        self._api.run(lambda admin: admin.attach_policy([name], user=user), _SO_ALREADY)

    def _drop(self, name: str) -> None:
        self._api.run(lambda admin: admin.policy_remove(name))

    def _name(self, party: str) -> str:
        return account_name(self.store.bucket, party)


def _keys(path: Path, name: str) -> Credentials:
    """Draw the keys of an account into a file; one of an attempt that was broken off holds them."""
    if path.exists():
        return _own_keys(path, name)
    keys = Credentials(name, secrets.token_urlsafe(30))
    write_credentials(path, keys)
    return keys


def _own_keys(path: Path, name: str) -> Credentials:
    keys = read_credentials(path)
    if keys.access_key != name:
        raise InputError(f"{path} holds the keys of another account; move it away")
    return keys


def _check_pair(party: str, peer: str) -> None:
    if check_party(party) == check_party(peer):
        raise InputError(f"{party} reads its own bundles anyway; name another party")
