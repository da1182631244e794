"""One party's side of an exchange; selects the envelope that it may open."""

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
"""Limit on the envelopes of one sequence. A few attempts may race; more are suspicious."""


@dataclass(frozen=True)
class Reference:
    """A bundle as a job names it: by name, or by one envelope of it."""

    name: str
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """Parse `name` or `name@sha256:<hex>`.

        Raises:
            InputError: It is neither.
        """
        if not re.fullmatch(BUNDLE_PATTERN, text):
            raise InputError(f"{text!r} must be {PATTERN_MEANING[BUNDLE_PATTERN]}")
        name, _, digest = text.partition("@")
        return cls(name, digest or None)

    @classmethod
    def opened_by(cls, spec: JobSpec) -> "Reference | None":
        """Return the bundle that a Tune or PlugIn job opens; None: a Distill job opens none."""
        return cls.parse(spec.bundle) if spec.bundle is not None else None


@dataclass(frozen=True)
class Sent:
    """A published envelope."""

    digest: str
    """Digest of the envelope."""
    sequence: int
    uri: str


class PublicKeys(Protocol):
    """The pinned keys of peers; see `Peers`."""

    def get(self, alias: str) -> PublicRing:
        """Return the keys of a peer; raises InputError if they are not pinned."""
        ...


@dataclass(frozen=True)
class Inbox:
    """What peers sent to a party. Reading it needs no private key."""

    id: str
    """The party's id."""
    peers: PublicKeys
    store: ObjectStore
    ledger: Ledger

    def incoming(self, peer: str, reference: Reference) -> Envelope:
        """Find the envelope to open: the newest one, or the named one.

        Raises:
            NotSentError: The peer has sent none.
            BundleError: It may not be opened: not signed by the peer, moved, replayed, or
                withdrawn.
        """
        ring = self.peers.get(peer)
        envelope = self._chosen(listing_of(self.store, ring, self.id, reference.name), reference)
        header = envelope.header
        accepted = self.ledger.accepted(ring.id, reference.name)
        check_fresh(accepted, reference.name, header.sequence, envelope.digest)
        if header.kind == "tombstone":
            # recorded, so that a store that later hides it is detected
            self.ledger.accept(ring.id, reference.name, header.sequence, envelope.digest)
            raise BundleError(
                f"{ring.id} withdrew {reference.name} on {header.created}; ask "
                f"{ring.id} for another one"
            )
        return envelope

    def notice(self, peer: str, name: str) -> Envelope | None:
        """Find a peer's notice that a stage failed; None: there is none.

        Objects that the peer did not sign are ignored.
        """
        with suppress(BundleError):
            return listing_of(self.store, self.peers.get(peer), self.id, name).notice()
        return None

    def _chosen(self, listing: Listing, reference: Reference) -> Envelope:
        sender = listing.sender.id
        entries = self.ledger.accepted(sender, reference.name)
        accepted, most = {digest for _, digest in entries}, newest_of(entries) + MOST_AHEAD
        for sequence in (each for each in listing.newest_first if each <= most):
            # of raced attempts, use the accepted one, else always the same one
            digests = sorted(listing.envelopes[sequence])
            if len(digests) > _MOST_ATTEMPTS:
                place = self.store.uri(f"{listing.prefix}{sequence}/")
                raise BundleError(
                    f"{place} has {len(digests)} envelopes, more than concurrent attempts can "
                    "leave; "
                    f"ask {sender} to withdraw {reference.name} and to send it again"
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
            f"{sender} has sent {self.id} no bundle named {reference.name}{named}: none exists "
            f"at {self.store.uri(listing.prefix)}; check the name, or ask {sender} to send it"
            f"{_passed_over(listing, most)}"
        )


def _passed_over(listing: Listing, most: int) -> str:
    ahead = [sequence for sequence in listing.newest_first if sequence > most]
    return (
        f"; sequence {ahead[-1]} is ignored, because it is too far ahead: {most} is the highest "
        "that the ledger allows next; if the ledger was lost, restore it"
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
    """The folder for locks and journals of unfinished pulls."""
    journals: ArtifactStore
    """The store for journals of unfinished pushes, which outlives a pod."""
    alone: bool = True
    """Whether the locks in `scratch` exclude all other processes that use the same journals."""

    @property
    def id(self) -> str:
        """The party's id."""
        return self.ring.id

    @property
    def inbox(self) -> Inbox:
        """The bundles that peers sent."""
        return Inbox(self.id, self.peers, self.store, self.ledger)

    def incoming(self, peer: str, reference: Reference) -> Envelope:
        """See `Inbox.incoming`. The error includes the peer's notice of a failure."""
        try:
            return self.inbox.incoming(peer, reference)
        except NotSentError as error:
            notice = self.inbox.notice(peer, reference.name)
            if notice is None:
                raise
            raise NotSentError(f"{error}; {self._sentence(notice)}") from error

    def _sentence(self, notice: Envelope) -> str:
        try:
            return open_notice(notice, self.ring).sentence(notice.header)
        except BundleError as error:
            return str(error)

    def outgoing(self, peer: PublicRing, name: str) -> Listing:
        """List what we have sent to a peer under a name."""
        return listing_of(self.store, self.ring.public(), peer.id, name)

    def forgotten(
        self, remembered: Callable[[], Collection[str]], report: Callable[[str], object]
    ) -> Iterator[Envelope]:
        """Find emulators that we have sent, to any recipient, and have no record of.

        Signatures by keys that were revoked later count. Envelopes that none of our keys signed are
        skipped: a store could make up any number of them.

        Args:
            remembered: Returns the digests of recorded envelopes. Called after the listing, because
                concurrent jobs record an envelope before they send it.
            report: Receives a one-line summary of what was skipped.
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
                f"{len(errors)} envelopes below {self.store.uri(f'{self.id}/')} are skipped, "
                f"because we did not sign them: {errors[0]}"
            )

    @contextmanager
    def sending(self, peer: PublicRing, name: str) -> Iterator[str]:
        """Lock out other processes that send the same bundle; yields the name of its journal.

        Raises:
            OffsiteError: Another process sends it.
        """
        journal = f"{peer.id}.{name}.push"
        busy = f"another process is sending {name} to {peer.id}; wait for it"
        with locked(self.scratch / f"{journal}.lock", busy):
            yield journal
