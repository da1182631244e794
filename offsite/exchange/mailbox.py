"""One party's side of an exchange, and which envelope is valid for it."""

import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from offsite.api import BUNDLE_PATTERN, PATTERN_MEANING, JobSpec
from offsite.errors import BundleError, InputError, NotSentError
from offsite.exchange.ledger import MOST_AHEAD, Ledger, PartyLedger, check_fresh, newest_of
from offsite.exchange.listing import Listing, every_listing, listing_of
from offsite.sealing import Envelope, PublicRing, Ring, open_notice
from offsite.sealing.peers import Peers
from offsite.store import ObjectStore, locked
from offsite.store.artifact_store import ArtifactStore

_MOST_ATTEMPTS = 16
"""Envelopes of one sequence: attempts that raced. More are no accident."""


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

    @classmethod
    def opened_by(cls, spec: JobSpec) -> "Reference":
        """Get the bundle that a Tune or a PlugIn opens."""
        assert spec.bundle is not None, "a Distill opens none"
        return cls.parse(spec.bundle)


@dataclass(frozen=True)
class Sent:
    """What was published."""

    digest: str
    """Of the envelope."""
    sequence: int
    uri: str


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
    ledger: Ledger

    def incoming(self, peer: str, reference: Reference) -> Envelope:
        """Find the envelope to open: the newest one, or the one that was named.

        Raises:
            NotSentError: the peer sent none.
            BundleError: it may not be opened: not signed by the peer, of another place, a replay,
                or taken back.
        """
        ring = self.peers.get(peer)
        envelope = self._chosen(listing_of(self.store, ring, self.id, reference.name), reference)
        header = envelope.header
        accepted = self.ledger.accepted(ring.id, reference.name)
        check_fresh(accepted, reference.name, header.sequence, envelope.digest)
        if header.kind == "tombstone":
            # remembered, so that a store that hides it later is found out
            self.ledger.accept(ring.id, reference.name, header.sequence, envelope.digest)
            raise BundleError(
                f"{ring.id} took back {reference.name} on {header.created}; ask "
                f"{ring.id} for another one"
            )
        return envelope

    def notice(self, peer: str, name: str) -> Envelope | None:
        """Find the notice of a peer that what was to become a bundle failed; None: there is none.

        What lies there and is not the peer's is none.
        """
        with suppress(BundleError):
            return listing_of(self.store, self.peers.get(peer), self.id, name).notice()
        return None

    def _chosen(self, listing: Listing, reference: Reference) -> Envelope:
        sender = listing.sender.id
        entries = self.ledger.accepted(sender, reference.name)
        accepted, most = {digest for _, digest in entries}, newest_of(entries) + MOST_AHEAD
        for sequence in (each for each in listing.newest_first if each <= most):
            # attempts that raced: the one that was accepted before, else any, but always the same
            digests = sorted(listing.envelopes[sequence])
            if len(digests) > _MOST_ATTEMPTS:
                place = self.store.uri(f"{listing.prefix}{sequence}/")
                raise BundleError(
                    f"{place} has {len(digests)} envelopes, more than attempts that raced leave; "
                    f"ask {sender} to take {reference.name} back and to send it again"
                )
            found = [listing.read(sequence, digest) for digest in digests]
            known = [e for e in found if e.digest in accepted]
            wanted = [e for e in found if e.digest == reference.digest]
            if reference.digest is None or found[0].header.kind == "tombstone":
                return (known or found)[0]
            if wanted:
                return wanted[0]
        named = f" with the envelope {reference.digest}" if reference.digest else ""
        raise NotSentError(
            f"{sender} has sent {self.id} no bundle named {reference.name}{named}: there is none "
            f"at {self.store.uri(listing.prefix)}; check the name, or ask {sender} to send it"
            f"{_passed_over(listing, most)}"
        )


def _passed_over(listing: Listing, most: int) -> str:
    ahead = [sequence for sequence in listing.newest_first if sequence > most]
    return (
        f"; sequence {ahead[-1]} is passed over, as sequences do not jump: {most} is the highest "
        "that may come next, by the ledger of what was accepted; if it was lost, restore it"
        if ahead
        else ""
    )


@dataclass(frozen=True)
class Mailbox:
    """One party's side of an exchange."""

    ring: Ring
    peers: Peers
    store: ObjectStore
    ledger: PartyLedger
    scratch: Path
    """Where what is known of unfinished pulls lies, beside locks."""
    journals: ArtifactStore
    """Where the journals of unfinished pushes lie; they outlast a pod."""
    alone: bool = True
    """Whether the locks in `scratch` keep out every other process that uses the same journals."""

    @property
    def id(self) -> str:
        """The party's id."""
        return self.ring.id

    @property
    def inbox(self) -> Inbox:
        """What peers sent."""
        return Inbox(self.id, self.peers, self.store, self.ledger)

    def incoming(self, peer: str, reference: Reference) -> Envelope:
        """See `Inbox.incoming`; where the peer has told that it failed, the error says so."""
        try:
            return self.inbox.incoming(peer, reference)
        except NotSentError as error:
            notice = self.inbox.notice(peer, reference.name)
            if notice is None:
                raise
            raise NotSentError(f"{error}; {self._said(notice)}") from error

    def _said(self, notice: Envelope) -> str:
        try:
            return open_notice(notice, self.ring).said(notice.header)
        except BundleError as error:
            return str(error)

    def outgoing(self, peer: PublicRing, name: str) -> Listing:
        """List what we have sent to a peer under a name."""
        return listing_of(self.store, self.ring.public(), peer.id, name)

    def forgotten(
        self, remembered: Callable[[], Collection[str]], report: Callable[[str], object]
    ) -> Iterator[Envelope]:
        """Find emulators that we have sent, to whomever, and remember nothing of.

        A key that was revoked since signed what it signed. What none of our keys signed is passed
        over: a store could make up as much of it as it likes.

        Args:
            remembered: gives the digests of envelopes; asked after the exchange, since what is
                sent meanwhile is remembered before it is there.
            report: is told of what is passed over, in one line.
        """
        listings = every_listing(self.store, self.ring.ever())
        known, errors = remembered(), list[BundleError]()
        for listing in listings:
            for sequence, digests in listing.envelopes.items():
                for digest in (each for each in digests if each not in known):
                    try:
                        envelope = listing.read(sequence, digest)
                    except BundleError as error:
                        errors.append(error)
                        continue
                    if envelope.header.kind == "emulator":
                        yield envelope
        if errors:
            report(
                f"{len(errors)} envelopes below {self.store.uri(f'{self.id}/')} are passed over, "
                f"as they cannot be verified as ours: {errors[0]}"
            )

    @contextmanager
    def sending(self, peer: PublicRing, name: str) -> Iterator[str]:
        """Keep other processes from sending the same bundle; gives the name of its journal.

        Raises:
            OffsiteError: one does so.
        """
        journal = f"{peer.id}.{name}.push"
        busy = f"another process sends {name} to {peer.id} just now"
        with locked(self.scratch / f"{journal}.lock", busy):
            yield journal
