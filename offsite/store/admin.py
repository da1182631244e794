"""Provisions an exchange: its bucket, an account for each party, and its grants.

All of it can be done again, and by two administrators at once. Nothing is remembered here: who may
read from whom is which policies are attached to an account on the server. Of two who make one
account, or change its secret, at the same moment, the credentials of the later one count.
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
    """What the server says of an account."""

    principal: Principal
    reads_from: tuple[str, ...]
    status: str
    """`enabled` or `disabled`."""
    changed: bool
    """Whether a policy of it is not as written here (changed by hand, or another version's), or a
    reader may not read from whom its party may."""
    other_policies: tuple[str, ...]
    """What else was attached to it, by somebody else."""


@dataclass(frozen=True)
class ExchangeAdmin:
    """The administrator of an exchange. The store holds his credentials.

    Every method raises `NotAllowedError`, `UnreachableError`, `InputError` and `StorageError` as
    `translate_errors` does, and those of accounts `NoAdminError`.
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

        Raises:
            InputError: there is no such bucket, nor then an account.
        """
        own, reader = self._pair(party, peer)
        has_reader = self._api.user(reader.name) is not None
        self.bucket()  # no accounts for one whose name is mistyped
        written = [self._account(each, folder) for each in (own, self._principal(peer))]
        self._api.attach(own.name, own.grant_name(peer), own.grant(peer))
        if has_reader:
            self._api.attach(reader.name, reader.grant_name(peer), reader.grant(peer))
        return [path for path in written if path]

    def add_reader(self, party: str, folder: Path | None = None) -> Path | None:
        """Make the account of a party's operator: it reads the envelopes that the party may read.

        Args:
            folder: where its credentials go, a file `<party>.reader.json`.

        Returns:
            The credentials file, if there was no such account.

        Raises:
            InputError: the party has no account yet.
        """
        own, reader = self._principal(party), self._principal(party, reader=True)
        user = self._api.user(own.name)
        if user is None:
            raise InputError(f"{party} has no account yet; grant it something to read: --from")
        written = self._account(reader, folder)
        for peer in own.peers_in(_attached(user)):
            self._api.attach(reader.name, reader.grant_name(peer), reader.grant(peer))
        return written

    def revoke(self, party: str, peer: str) -> bool:
        """Let a party read no more of what a peer sends to it; tell whether it could."""
        done = [
            self._api.detach(each.name, each.grant_name(peer)) for each in self._pair(party, peer)
        ]
        return any(done)

    def reissue(self, party: str, folder: Path, reader: bool = False) -> Path:
        """Give an account another secret key, in place of the one that it has; its sessions end.

        Broken off and done again, it goes on: the new key is kept beside the file until it counts.

        Args:
            folder: where the file `<party>.json` goes, in place of an older one.
            reader: whether it is the account of the party's reader.

        Raises:
            InputError: there is no such account, or the file has the keys of another one.
        """
        account = self._principal(party, reader)
        path, fresh = (folder / f"{account.file}{end}" for end in (".json", ".new.json"))
        if self._api.user(account.name) is None:
            raise InputError(
                f"{account} has no account to reissue; `offsite exchange grant` makes it"
            )
        if path.exists():
            own_credentials(path, account.name)
        keys = drawn_credentials(fresh, account.name)
        self._api.set_user(keys)
        # one of an earlier version may lack what is refused today
        self._api.attach(account.name, account.name, account.policy())
        fresh.replace(path)
        return path

    def remove(self, party: str) -> bool:
        """Remove a party's accounts with all that they were granted; tell whether there was one.

        What it sent stays, and so does what others were granted to read from it.
        """
        done = [self._remove(self._principal(party, reader)) for reader in (True, False)]
        return any(done)

    def accounts(self) -> list[Account]:
        """Read who may do what."""
        users = self._api.ask(lambda admin: admin.user_list())
        policies = self._api.ask(lambda admin: admin.policy_list())
        found = {name: Principal.of(self.store.bucket, name) for name in sorted(users)}
        return [
            _facts(each, users, policies)
            for each in sorted(filter(None, found.values()), key=lambda p: (p.party, p.reader))
        ]

    def _account(self, account: Principal, folder: Path | None) -> Path | None:
        """Make an account if there is none, and attach the policy of its party's own folder."""
        written = None
        if self._api.user(account.name) is None:
            if folder is None:
                raise InputError(
                    f"{account} has no account yet; name a folder for its credentials: "
                    "--credentials"
                )
            written = folder / f"{account.file}.json"
            # before anything is made that needs them
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
        """Give the accounts of a party that reads from a peer: its own, and its reader's."""
        if check_party(party) == check_party(peer):
            raise InputError(f"{party} reads its own bundles anyway; name another party")
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
    """Read which policies are attached to an account."""
    return [each for each in user.get("policyName", "").split(",") if each]
