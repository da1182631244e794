"""A party's identity: a ring of keys, of which the newest are used for new messages.

Tink for Python cannot change a keyset, so each key is a separate keyset, and the ring records its
validity. The public ring is signed by its own sign keys, so a pinned key vouches for later ones.
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
    derive,
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
"""Tolerated difference between two clocks."""


class Entry(Part):
    """One key of a ring."""

    id: str = Field(pattern=r"^[0-9a-f]{16}$")
    purpose: Purpose
    not_before: Instant
    not_after: Instant | None = None
    """End of its validity for new messages; None: until a newer key follows."""
    revoked_at: Instant | None = None
    """When it was revoked; it is then invalid for everything."""
    keyset: Keyset = Field(repr=False)

    def covers(self, instant: datetime) -> bool:
        """Return whether it is valid for a message made at an instant."""
        ends = self.not_after is None or instant <= self.not_after + _SKEW
        return self.revoked_at is None and self.not_before - _SKEW <= instant and ends


class Endorsement(Part):
    """A signature of a public ring by one of its keys."""

    by: str
    signature: Base64


class PublicRing(Part):
    """The public file that a party gives to its peers."""

    format: Literal[1] = 1  # noqa: V107 - checked by its type
    id: Name
    entries: tuple[Entry, ...] = Field(min_length=1, max_length=_MOST_KEYS)
    endorsements: tuple[Endorsement, ...] = ()

    @property
    def content(self) -> bytes:
        """The signed bytes."""
        wire = self.wire()
        del wire["endorsements"]
        return _DOMAIN + canonical(wire)

    @property
    def fingerprint(self) -> str:
        """160 bits of its SHA-256, in eight groups that people can compare."""
        letters = base64.b32encode(hashlib.sha256(self.content).digest()[:20]).decode().lower()
        return " ".join(letters[i : i + 4] for i in range(0, 32, 4))

    def newest(self, purpose: Purpose) -> Entry:
        """Return the key for new messages.

        Raises:
            InputError: All keys of that purpose have ended or were revoked.
        """
        return _newest(self.id, self.entries, purpose)

    def signers(self) -> list[Entry]:
        """List the sign keys that were not revoked, newest last."""
        found = [e for e in self.entries if e.purpose == "sign" and not e.revoked_at]
        return sorted(found, key=lambda e: e.not_before)

    def endorsed_by(self, *trusted: Entry) -> bool:
        """Return whether one of these keys signed this ring."""
        known = {entry.id: entry for entry in trusted}
        return any(
            each.by in known and _is_signed(known[each.by], each.signature, self.content)
            for each in self.endorsements
        )

    def signer(self, entry: str, instant: datetime) -> Entry:
        """Return the key that signed something at an instant.

        Raises:
            BundleError: The instant is in the future, or the key is unknown, revoked, or was not
                valid then.
        """
        if instant > now() + _SKEW:
            raise BundleError(
                f"a signature of {self.id} is dated {instant}, which is in the future: a clock is "
                f"wrong (it is {now()} here); correct it, or ask {self.id} to send again"
            )
        found = next((e for e in self.entries if (e.id, e.purpose) == (entry, "sign")), None)
        if found is None:
            raise BundleError(f"{self.id} has no key {entry}; ask for its newest public file")
        if found.revoked_at is None and found.covers(instant):
            return found
        revoked = found.revoked_at
        problem = f"was revoked on {revoked}" if revoked else f"was not valid on {instant}"
        raise BundleError(f"the key {entry} of {self.id} {problem}; ask {self.id} to send again")


class OwnKeys(PublicRing):
    """A party's own public keys, which recognize everything that it ever signed."""

    def signer(self, entry: str, instant: datetime) -> Entry:
        """Return a key, even if it was revoked or has ended.

        Raises:
            BundleError: There is no such key.
        """
        found = next((e for e in self.entries if (e.id, e.purpose) == (entry, "sign")), None)
        if found is None:
            raise BundleError(f"{self.id} never had the key {entry}")
        return found


class Ring(Part):
    """A party's own keys, including the private ones."""

    format: Literal[1] = 1  # noqa: V107 - checked by its type
    id: Name
    entries: tuple[Entry, ...] = Field(min_length=1, max_length=_MOST_KEYS)

    @classmethod
    def new(cls, party: str) -> "Ring":
        """Generate the keys of a new party."""
        return cls(id=party, entries=_fresh())

    def public(self) -> PublicRing:
        """Build the public file, signed by every sign key that was not revoked."""
        halves = (e.model_copy(update={"keyset": public_keyset(e.keyset)}) for e in self.entries)
        bare = PublicRing(id=self.id, entries=tuple(halves))
        signers = [e for e in self.entries if e.purpose == "sign" and not e.revoked_at]
        signed = (
            Endorsement(by=e.id, signature=text_of(sign(e.keyset, bare.content))) for e in signers
        )
        return bare.model_copy(update={"endorsements": tuple(signed)})

    def ever(self) -> OwnKeys:
        """Return the public keys, each valid for everything that it ever signed."""
        return OwnKeys(id=self.id, entries=self.public().entries)

    def newest(self, purpose: Purpose) -> Entry:
        """Return the key for new messages; raises as `PublicRing.newest` does."""
        return _newest(self.id, self.entries, purpose)

    def decrypting(self, entry: str) -> Entry | None:
        """Return an encrypt key that was not revoked, regardless of its age."""
        return next((e for e in self.entries if e.id == entry and not e.revoked_at), None)

    def derived(self, entry: str, context: bytes) -> bytes | None:
        """Derive a 32-byte secret from a sign key of any age; None: there is no such key."""
        found = next((e for e in self.entries if (e.id, e.purpose) == (entry, "sign")), None)
        return derive(found.keyset, context) if found else None

    def rotated(self, overlap: timedelta) -> "Ring":
        """Add new keys; the previous ones stay valid for messages in transit.

        Raises:
            InputError: The ring is full.
        """
        if len(self.entries) + len(_TEMPLATES) > _MOST_KEYS:
            raise InputError(
                f"the ring of {self.id} is full: {_MOST_KEYS} keys; create a new identity, and ask "
                "peers "
                "to pin it"
            )
        end = now() + overlap
        kept = (
            e.model_copy(update={"not_after": min(e.not_after or end, end)}) for e in self.entries
        )
        return self.model_copy(update={"entries": (*kept, *_fresh())})

    def revoked(self, entry: str) -> "Ring":
        """Revoke a key.

        Raises:
            InputError: There is no such key, or it is the only one of its purpose.
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
            f"the keys of {party} are valid from {min(e.not_before for e in fitting)}, which is in "
            "the "
            f"future: a clock is wrong (it is {now()} here); correct it"
        )
    if not usable:
        raise InputError(f"{party} has no valid key to {purpose} with; rotate its keys")
    # of several keys from the same second, use the last one
    return max(enumerate(usable), key=lambda pair: (pair[1].not_before, pair[0]))[1]


def _is_signed(entry: Entry, signature: str, message: bytes) -> bool:
    try:
        verify(entry.keyset, bytes_of(signature), message)
    except TinkError:
        return False
    return True
