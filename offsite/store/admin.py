"""Provisions an exchange: its bucket, an account for each party, and its grants.

Every operation can be repeated, also by several administrators at once. The server holds all state:
the policies attached to an account decide who reads from whom. If two administrators create one
account, or change its secret, at the same moment, the later credentials are valid.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offsite.errors import InputError
from offsite.store.admin_api import AdminApi
from offsite.store.bucket import BucketFacts, bucket_facts, prepare_bucket
from offsite.store.credentials import drawn_credentials, own_credentials
from offsite.store.policies import Policy, same_policy
from offsite.store.principals import Principal, check_party
from offsite.store.s3 import S3Store


@dataclass(frozen=True)
class Account:
    """An account, as the server reports it."""

    principal: Principal
    reads_from: tuple[str, ...]
    status: str
    """`enabled` or `disabled`."""
    changed: bool
    """Whether a policy differs from the expected one (changed by hand, or by another version), or a
    reader's grants differ from its party's.
    """
    other_policies: tuple[str, ...]
    """Policies attached by others."""


@dataclass(frozen=True)
class ExchangeAdmin:
    """Administers an exchange, with the store's credentials.

    Every method raises `NotAllowedError`, `UnreachableError`, `InputError` and `StorageError` as
    `translate_errors` does; methods for accounts also raise `NoAdminError`.
    """

    store: S3Store

    @property
    def _api(self) -> AdminApi:
        return AdminApi(self.store)

    def prepare(self) -> None:
        """Create the bucket, with versioning and an expiry of old versions."""
        prepare_bucket(self.store)

    def bucket(self) -> BucketFacts:
        """Read the settings of the bucket."""
        return bucket_facts(self.store)

    def grant(self, party: str, peer: str, folder: Path | None = None) -> list[Path]:
        """Allow a party to read what a peer sends to it; create missing accounts.

        Args:
            folder: Folder for the credentials of new accounts, a file `<party>.json` each.

        Returns:
            The credentials files that were written.

        Raises:
            InputError: The bucket does not exist; no account is created then.
        """
        own, reader = self._pair(party, peer)
        has_reader = self._api.user(reader.name) is not None
        self.bucket()  # create no accounts for a misspelled bucket
        written = [self._account(each, folder) for each in (own, self._principal(peer))]
        self._api.attach(own.name, own.grant_name(peer), own.grant(peer))
        if has_reader:
            self._api.attach(reader.name, reader.grant_name(peer), reader.grant(peer))
        return [path for path in written if path]

    def add_reader(self, party: str, folder: Path | None = None) -> Path | None:
        """Create the account of a party's operator, which reads the envelopes that the party may
        read.

        Args:
            folder: Folder for its credentials, a file `<party>.reader.json`.

        Returns:
            The credentials file, if the account is new.

        Raises:
            InputError: The party has no account yet.
        """
        own, reader = self._principal(party), self._principal(party, reader=True)
        user = self._api.user(own.name)
        if user is None:
            raise InputError(f"{party} has no account yet; grant it a peer to read from: --from")
        written = self._account(reader, folder)
        for peer in own.peers_in(_attached(user)):
            self._api.attach(reader.name, reader.grant_name(peer), reader.grant(peer))
        return written

    def revoke(self, party: str, peer: str) -> bool:
        """Withdraw a party's permission to read from a peer; returns whether it had it."""
        done = [
            self._api.detach(each.name, each.grant_name(peer)) for each in self._pair(party, peer)
        ]
        return any(done)

    def reissue(self, party: str, folder: Path, reader: bool = False) -> Path:
        """Replace an account's secret key; its sessions end.

        A repeated call continues an interrupted one: the new key is stored beside the file until it
        is valid.

        Args:
            folder: Folder of the file `<party>.json`, which is replaced.
            reader: Whether to use the account of the party's reader.

        Raises:
            InputError: The account does not exist, or the file has another account's keys.
        """
        account = self._principal(party, reader)
        path, fresh = (folder / f"{account.file}{end}" for end in (".json", ".new.json"))
        if self._api.user(account.name) is None:
            raise InputError(
                f"{account} has no account to reissue; create it with `offsite exchange grant`"
            )
        if path.exists():
            own_credentials(path, account.name)
        keys = drawn_credentials(fresh, account.name)
        self._api.set_user(keys)
        # accounts of earlier versions may lack a newer denial
        self._api.attach(account.name, account.name, account.policy())
        fresh.replace(path)
        return path

    def remove(self, party: str) -> bool:
        """Remove a party's accounts and grants; returns whether there were any.

        Bundles that it sent, and grants of others to read them, stay.
        """
        done = [self._remove(self._principal(party, reader)) for reader in (True, False)]
        return any(done)

    def accounts(self) -> list[Account]:
        """List the accounts with their grants."""
        users = self._api.ask(lambda admin: admin.user_list())
        policies = self._api.ask(lambda admin: admin.policy_list())
        found = {name: Principal.of(self.store.bucket, name) for name in sorted(users)}
        return [
            _facts(each, users, policies)
            for each in sorted(filter(None, found.values()), key=lambda p: (p.party, p.reader))
        ]

    def _account(self, account: Principal, folder: Path | None) -> Path | None:
        """Create an account if necessary, and attach the policy of its party's own folder."""
        written = None
        if self._api.user(account.name) is None:
            if folder is None:
                raise InputError(
                    f"{account} has no account yet; choose a folder for its credentials: "
                    "--credentials"
                )
            written = folder / f"{account.file}.json"
            # save the keys before the account exists
            keys = drawn_credentials(written, account.name)
            self._api.set_user(keys)
        self._api.attach(account.name, account.name, account.policy())
        return written

    def _remove(self, account: Principal) -> bool:
        there = self._api.remove_user(account.name)
        left = self._api.ask(lambda admin: admin.policy_list())
        for policy in (account.name, *map(account.grant_name, account.peers_in(left))):
            self._api.drop(policy)
        return there

    def _principal(self, party: str, reader: bool = False) -> Principal:
        return Principal(self.store.bucket, check_party(party), reader)

    def _pair(self, party: str, peer: str) -> tuple[Principal, Principal]:
        """Return the accounts of a party that reads from a peer: its own, and its reader's."""
        if check_party(party) == check_party(peer):
            raise InputError(f"{party} can always read its own bundles; name another party")
        return self._principal(party), self._principal(party, reader=True)


def _facts(
    account: Principal, users: dict[str, dict[str, Any]], policies: dict[str, Policy]
) -> Account:
    attached = _attached(users[account.name])
    peers = account.peers_in(attached)
    due = {account.grant_name(peer): account.grant(peer) for peer in peers}
    due[account.name] = account.policy()
    party = Principal(account.bucket, account.party)
    return Account(
        principal=account,
        reads_from=peers,
        status=users[account.name]["status"],
        changed=account.name not in attached
        or peers != party.peers_in(_attached(users.get(party.name, {})))
        or not all(same_policy(policies.get(each, {}), due[each]) for each in due),
        other_policies=tuple(each for each in attached if each not in due),
    )


def _attached(user: dict[str, Any]) -> list[str]:
    """List the policies attached to an account."""
    return [each for each in user.get("policyName", "").split(",") if each]
