"""A party's identity: a ring of keys, of which only the newest are used for what is new.

Tink for Python cannot change a keyset, so each key is a keyset of its own, and the ring says from
when to when it counts. The public ring is signed by the sign keys in it: one that a peer has pinned
vouches for those that came later.
"""

import base64
import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import Field

from offsite.errors import BundleError, InputError
from offsite.sealing.primitives import (
    ENCRYPTION,
    SIGNATURE,
    Keyset,
    TinkError,
    new_keyset,
    public_keyset,
    sign,
    verify,
)
from offsite.wire import Base64, Instant, Name, Part, bytes_of, canonical, now, text_of

Purpose = Literal["encrypt", "sign"]
_TEMPLATES: dict[Purpose, Any] = {"encrypt": ENCRYPTION, "sign": SIGNATURE}
_DOMAIN = b"offsite public ring 1\n"
_MOST_KEYS = 64
_SKEW = timedelta(minutes=5)
"""How far two clocks may be apart without harm."""


class Entry(Part):
    """One key of a ring."""

    id: str = Field(pattern=r"^[0-9a-f]{16}$")
    purpose: Purpose
    not_before: Instant
    not_after: Instant | None = None
    """Until when it counts for what is new; absent: until another one follows."""
    revoked_at: Instant | None = None
    """Since when it counts for nothing."""
    keyset: Keyset = Field(repr=False)

    def covers(self, instant: datetime) -> bool:
        """Whether it may be used for what was made at an instant."""
        ends = self.not_after is None or instant <= self.not_after + _SKEW
        return self.revoked_at is None and self.not_before - _SKEW <= instant and ends


class Endorsement(Part):
    """The signature of a public ring by one of its keys."""

    by: str
    signature: Base64


class PublicRing(Part):
    """What a party gives to its peers: one short text file."""

    format: Literal[1] = 1  # noqa: V107 - checked by its type
    id: Name
    entries: tuple[Entry, ...] = Field(min_length=1, max_length=_MOST_KEYS)
    endorsements: tuple[Endorsement, ...] = ()

    @property
    def content(self) -> bytes:
        """What is signed."""
        wire = self.wire()
        del wire["endorsements"]
        return _DOMAIN + canonical(wire)

    @property
    def fingerprint(self) -> str:
        """160 bits of its SHA-256, in eight groups that two people can read out to each other."""
        letters = base64.b32encode(hashlib.sha256(self.content).digest()[:20]).decode().lower()
        return " ".join(letters[i : i + 4] for i in range(0, 32, 4))

    def newest(self, purpose: Purpose) -> Entry:
        """Find the key to use for what is new.

        Raises:
            InputError: every key of that purpose has ended or was revoked.
        """
        return _newest(self.id, self.entries, purpose)

    def signers(self) -> list[Entry]:
        """List the sign keys that were not revoked, the newest last."""
        found = [e for e in self.entries if e.purpose == "sign" and not e.revoked_at]
        return sorted(found, key=lambda e: e.not_before)

    def endorsed_by(self, *trusted: Entry) -> bool:
        """Whether one of these keys signed this ring."""
        known = {entry.id: entry for entry in trusted}
        return any(
            each.by in known and _is_signed(known[each.by], each.signature, self.content)
            for each in self.endorsements
        )

    def signer(self, entry: str, instant: datetime) -> Entry:
        """Find the key that signed something at an instant.

        Raises:
            BundleError: the instant is yet to come, there is no such key, it was revoked, or it did
                not count then.
        """
        if instant > now() + _SKEW:
            raise BundleError(
                f"what {self.id} signed is dated {instant}, which is not yet: one of two clocks is "
                f"wrong, as it is {now()} here; set it right, or ask {self.id} to send anew"
            )
        found = next((e for e in self.entries if (e.id, e.purpose) == (entry, "sign")), None)
        if found is None:
            raise BundleError(f"{self.id} has no key {entry}; ask for its newest public file")
        if found.revoked_at is None and found.covers(instant):
            return found
        revoked = found.revoked_at
        problem = f"was revoked on {revoked}" if revoked else f"did not count on {instant}"
        raise BundleError(f"the key {entry} of {self.id} {problem}; ask {self.id} to send anew")


class OwnKeys(PublicRing):
    """A party's own public keys, as it knows again what it ever signed with any of them."""

    def signer(self, entry: str, instant: datetime) -> Entry:
        """Find a key, although it was revoked, or does not count any more.

        Raises:
            BundleError: there is no such key.
        """
        found = next((e for e in self.entries if (e.id, e.purpose) == (entry, "sign")), None)
        if found is None:
            raise BundleError(f"{self.id} never had the key {entry}")
        return found


class Ring(Part):
    """A party's own keys, private halves included."""

    format: Literal[1] = 1  # noqa: V107 - checked by its type
    id: Name
    entries: tuple[Entry, ...] = Field(min_length=1, max_length=_MOST_KEYS)

    @classmethod
    def new(cls, party: str) -> "Ring":
        """Make the keys of a new party."""
        return cls(id=party, entries=_fresh())

    def public(self) -> PublicRing:
        """Make the public file, signed by every sign key that was not revoked."""
        halves = (e.model_copy(update={"keyset": public_keyset(e.keyset)}) for e in self.entries)
        bare = PublicRing(id=self.id, entries=tuple(halves))
        signers = [e for e in self.entries if e.purpose == "sign" and not e.revoked_at]
        signed = (
            Endorsement(by=e.id, signature=text_of(sign(e.keyset, bare.content))) for e in signers
        )
        return bare.model_copy(update={"endorsements": tuple(signed)})

    def ever(self) -> OwnKeys:
        """List the public keys, of which each counts for what was signed with it ever."""
        return OwnKeys(id=self.id, entries=self.public().entries)

    def newest(self, purpose: Purpose) -> Entry:
        """Find the key to use for what is new; raises as `PublicRing.newest` does."""
        return _newest(self.id, self.entries, purpose)

    def decrypting(self, entry: str) -> Entry | None:
        """Find an encrypt key that was not revoked, however old it is."""
        return next((e for e in self.entries if e.id == entry and not e.revoked_at), None)

    def rotated(self, overlap: timedelta) -> "Ring":
        """Add new keys; those before count a while longer for what was on its way.

        Raises:
            InputError: there is no room for more.
        """
        if len(self.entries) + len(_TEMPLATES) > _MOST_KEYS:
            raise InputError(
                f"the ring of {self.id} is full: {_MOST_KEYS} keys; make a new identity, and have "
                "it pinned"
            )
        end = now() + overlap
        kept = (
            e.model_copy(update={"not_after": min(e.not_after or end, end)}) for e in self.entries
        )
        return self.model_copy(update={"entries": (*kept, *_fresh())})

    def revoked(self, entry: str) -> "Ring":
        """Revoke a key.

        Raises:
            InputError: there is no such key, or no other could take its place.
        """
        if entry not in {e.id for e in self.entries}:
            raise InputError(f"there is no key {entry}; see `offsite keys show`")
        at = {"revoked_at": now()}
        changed = (e.model_copy(update=at) if e.id == entry else e for e in self.entries)
        ring = self.model_copy(update={"entries": tuple(changed)})
        for purpose in ("encrypt", "sign"):
            if not any(e.purpose == purpose and e.covers(now()) for e in ring.entries):
                raise InputError(f"{entry} is the only key to {purpose} with; rotate first")
        return ring


def _fresh() -> tuple[Entry, ...]:
    return tuple(
        Entry(
            id=secrets.token_hex(8), purpose=purpose, not_before=now(), keyset=new_keyset(template)
        )
        for purpose, template in _TEMPLATES.items()
    )


def _newest(party: str, entries: Sequence[Entry], purpose: Purpose) -> Entry:
    fitting = [e for e in entries if e.purpose == purpose and e.revoked_at is None]
    usable = [e for e in fitting if e.covers(now())]
    if not usable and fitting and min(e.not_before for e in fitting) > now():
        raise InputError(
            f"the keys of {party} count from {min(e.not_before for e in fitting)} on, which is not "
            f"yet: one of two clocks is wrong; it is {now()} here"
        )
    if not usable:
        raise InputError(f"{party} has no key left to {purpose} with; rotate its keys")
    # of those made in the same second the last one
    return max(enumerate(usable), key=lambda pair: (pair[1].not_before, pair[0]))[1]


def _is_signed(entry: Entry, signature: str, message: bytes) -> bool:
    try:
        verify(entry.keyset, bytes_of(signature), message)
    except TinkError:
        return False
    return True
