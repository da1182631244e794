"""The accounts of a party on a MinIO: their names, and those of their policies.

A bucket's name may contain dots, a party's may not; so no two pairs share a name.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from offsite.api import NAME_PATTERN, PATTERN_MEANING
from offsite.errors import InputError
from offsite.store.policies import Policy, account_policy, grant_policy

_PARTY, _READER = "offsite", "offsite-reader"
_READS = {_PARTY: "offsite-reads", _READER: "offsite-reader-reads"}


def check_party(party: str) -> str:
    """Check that a party's id is a DNS label, and so not a pattern or ambiguous.

    Raises:
        InputError: It is not a DNS label.
    """
    if re.fullmatch(NAME_PATTERN.rstrip("$"), party) is None:
        raise InputError(f"{party!r} is not a party's id; use {PATTERN_MEANING[NAME_PATTERN]}")
    return party


@dataclass(frozen=True)
class Principal:
    """An account with access to an exchange."""

    bucket: str
    party: str
    reader: bool = False
    """Whether it is the account of the party's operator, which only reads envelopes."""

    @classmethod
    def of(cls, bucket: str, name: str) -> "Principal | None":
        """Parse an account's name; None: it does not belong to this bucket."""
        found = re.fullmatch(rf"({_PARTY}|{_READER})\.{re.escape(bucket)}\.([a-z0-9-]+)", name)
        return cls(bucket, found[2], found[1] == _READER) if found else None

    @property
    def name(self) -> str:
        """The access key, and the name of the policy of its party's own folder."""
        return f"{self._kind}.{self.bucket}.{self.party}"

    @property
    def file(self) -> str:
        """The name of its credentials file, without the suffix."""
        return f"{self.party}.reader" if self.reader else self.party

    def __str__(self) -> str:
        return f"the reader of {self.party}" if self.reader else self.party

    def policy(self) -> Policy:
        """Build the policy of its party's own folder."""
        return account_policy(self.bucket, self.party, self.reader)

    def grant_name(self, peer: str) -> str:
        """Return the name of the policy by which it reads what a peer sends to its party."""
        return f"{_READS[self._kind]}.{self.bucket}.{self.party}.{peer}"

    def grant(self, peer: str) -> Policy:
        """Build the policy by which it reads what a peer sends to its party."""
        return grant_policy(self.bucket, self.party, peer, self.reader)

    def peers_in(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the peers from which it may read, given the names of its policies."""
        pattern = rf"{re.escape(self.grant_name(''))}([a-z0-9-]+)"
        found = (re.fullmatch(pattern, name) for name in names)
        return tuple(sorted({match[1] for match in found if match}))

    @property
    def _kind(self) -> str:
        return _READER if self.reader else _PARTY
