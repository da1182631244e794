"""Who exchanges with whom, where: keys of objects, and which envelope is the one to take."""

import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from offsite.api import BUNDLE_PATTERN, PATTERN_MEANING
from offsite.errors import BundleError, InputError, NotSentError
from offsite.exchange.books import Accounts, Ledger, check_fresh
from offsite.sealing import Envelope, PublicRing, Ring, read_envelope
from offsite.sealing.envelope import LARGEST_ENVELOPE
from offsite.sealing.parts import digest_of
from offsite.sealing.peers import Peers
from offsite.store import ObjectStore

_MOST_ATTEMPTS = 16
"""Envelopes of one sequence: attempts that raced. More are no accident."""
LEAF = re.compile(r"([1-9][0-9]{0,15})/(envelope-)?([0-9a-f]{64})")
"""The end of a key: sequence, whether it is an envelope, and digest."""


@dataclass(frozen=True)
class Reference:
    """A bundle as a job names it: by its name, or by one envelope of it."""

    name: str
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """Read `name` or `name@sha256:<hex>`.

        Raises:
            InputError: it is neither.
        """
        if not re.fullmatch(BUNDLE_PATTERN, text):
            raise InputError(f"{text!r} must be {PATTERN_MEANING[BUNDLE_PATTERN]}")
        name, _, digest = text.partition("@")
        return cls(name, digest or None)


@dataclass(frozen=True)
class Sent:
    """What was published."""

    digest: str
    """Of the envelope."""
    sequence: int
    uri: str


@dataclass
class Listing:
    """What lies in the exchange under one bundle's name: by sequence, keys and sizes."""

    envelopes: dict[int, list[str]] = field(default_factory=dict)
    shards: dict[int, dict[str, int]] = field(default_factory=dict)


class PublicKeys(Protocol):
    """The pinned keys of peers, as `Peers` has them in a folder."""

    def get(self, alias: str) -> PublicRing:
        """Find the keys of a peer; raises InputError: nobody pinned them."""
        ...


@dataclass(frozen=True)
class Inbox:
    """What peers sent to a party. Looking at it needs no private key."""

    id: str
    """The party's id."""
    peers: PublicKeys
    store: ObjectStore
    books: Ledger

    def incoming(self, peer: str, reference: Reference) -> Envelope:
        """Find the envelope to open: the newest one, or the one that was named.

        Raises:
            NotSentError: the peer sent none.
            BundleError: it may not be opened: not signed by the peer, of another place, a replay,
                or taken back.
        """
        ring = self.peers.get(peer)
        prefix = prefix_of(ring.id, self.id, reference.name)
        envelope = self._chosen(ring, prefix, reference)
        header = envelope.header
        if header.kind == "tombstone":
            # remembered, so that a store that hides it later is found out
            self.books.accept(ring.id, reference.name, header.sequence, envelope.digest)
            raise BundleError(f"{ring.id} took back {reference.name} on {header.created}")
        accepted = self.books.accepted(ring.id, reference.name)
        check_fresh(accepted, reference.name, header.sequence, envelope.digest)
        return envelope

    def _chosen(self, ring: PublicRing, prefix: str, reference: Reference) -> Envelope:
        accepted = {digest for _, digest in self.books.accepted(ring.id, reference.name)}
        for sequence, keys in sorted(
            listing_of(self.store, prefix).envelopes.items(), reverse=True
        ):
            # attempts that raced: the one that was accepted before, else any, but always the same
            if len(keys) > _MOST_ATTEMPTS:
                raise BundleError(f"{self.store.uri(prefix)}{sequence} has {len(keys)} envelopes")
            read = [read_at(self.store, ring, key, prefix, sequence) for key in keys]
            found = sorted(read, key=lambda envelope: envelope.digest)
            known = [e for e in found if e.digest in accepted]
            wanted = [e for e in found if e.digest == reference.digest]
            if reference.digest is None or found[0].header.kind == "tombstone":
                return (known or found)[0]
            if wanted:
                return wanted[0]
        named = f" with the envelope {reference.digest}" if reference.digest else ""
        raise NotSentError(
            f"{ring.id} has sent {self.id} no bundle named {reference.name}{named}: there is none "
            f"at {self.store.uri(prefix)}"
        )


@dataclass(frozen=True)
class Mailbox:
    """One party's side of an exchange."""

    ring: Ring
    peers: Peers
    store: ObjectStore
    books: Accounts
    scratch: Path
    """Where journals of unfinished transfers lie."""

    @property
    def id(self) -> str:
        """The party's id."""
        return self.ring.id

    @property
    def inbox(self) -> Inbox:
        """What peers sent."""
        return Inbox(self.id, self.peers, self.store, self.books)

    def incoming(self, peer: str, reference: Reference) -> Envelope:
        """See `Inbox.incoming`."""
        return self.inbox.incoming(peer, reference)

    def sent(
        self, peer: PublicRing, listing: Listing, prefix: str, sequence: int, job: str
    ) -> Envelope | None:
        """Find what a job of ours sent already, if it is there whole, and the peer can open it.

        Args:
            listing: of the bundle's place, which is `prefix`.
        """
        for key in sorted(listing.envelopes.get(sequence, [])):
            with suppress(BundleError):  # of a key of ours that was revoked since
                envelope = read_at(self.store, self.ring.public(), key, prefix, sequence)
                if envelope.header.job == job and _is_whole(envelope, listing, peer):
                    return envelope
        return None

    def newest(self, listing: Listing, prefix: str, least: int) -> int:
        """Find the latest sequence, from some on, in which an envelope of ours is; 0: in none."""
        for sequence in sorted(listing.envelopes, reverse=True):
            if sequence < least:
                break
            for key in listing.envelopes[sequence]:
                with suppress(BundleError):
                    read_at(self.store, self.ring.public(), key, prefix, sequence)
                    return sequence
        return 0

    def is_whole(self, peer: str, name: str, digest: str) -> bool:
        """Whether a bundle that we sent is in the exchange with all its shards, and can be opened.

        Raises:
            BundleError: its envelope was changed.
        """
        ring = self.peers.get(peer)
        prefix = prefix_of(self.id, ring.id, name)
        listing = listing_of(self.store, prefix)
        for sequence, keys in listing.envelopes.items():
            key = f"{prefix}{sequence}/{envelope_name(digest)}"
            if key in keys:
                envelope = read_at(self.store, self.ring.public(), key, prefix, sequence)
                return _is_whole(envelope, listing, ring)
        return False


def listing_of(store: ObjectStore, prefix: str) -> Listing:
    """List a bundle; whatever else somebody put there is passed over."""
    found = Listing()
    for key, size in store.sizes(prefix).items():
        leaf = LEAF.fullmatch(key.removeprefix(prefix))
        if leaf is None:
            continue
        sequence = int(leaf[1])
        if leaf[2]:
            found.envelopes.setdefault(sequence, []).append(key)
        else:
            found.shards.setdefault(sequence, {})[leaf[3]] = size
    return found


def read_at(
    store: ObjectStore, sender: PublicRing, key: str, prefix: str, sequence: int
) -> Envelope:
    """Read the envelope at a key, and check that it belongs there.

    Raises:
        BundleError: it does not, or is not its sender's.
    """
    content = store.get(key, LARGEST_ENVELOPE)
    if f"{prefix}{sequence}/{envelope_name(digest_of(content))}" != key:
        raise BundleError(f"{store.uri(key)} was changed: its name is not its digest")
    envelope = read_envelope(content, sender)
    header = envelope.header
    told = (prefix_of(header.sender, header.recipient, header.name), header.sequence)
    if told != (prefix, sequence):
        raise BundleError(
            f"{store.uri(key)} is the envelope of {told[0]}{told[1]}, not of this place"
        )
    return envelope


def _is_whole(envelope: Envelope, listing: Listing, peer: PublicRing) -> bool:
    there = listing.shards.get(envelope.header.sequence, {})
    usable = {entry.id for entry in peer.entries if not entry.revoked_at}
    return any(key.to in usable for key in envelope.keys) and all(
        there.get(shard.sha256) == shard.size for shard in envelope.header.shards
    )


def prefix_of(sender: str, recipient: str, name: str) -> str:
    """Name the place of a bundle."""
    return f"{sender}/{recipient}/{name}/"


def envelope_name(digest: str) -> str:
    """Name the object of an envelope."""
    return f"envelope-{digest.removeprefix('sha256:')}"
