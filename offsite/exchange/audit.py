"""Audits an exchange with public keys only."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import permutations
from pathlib import Path

from offsite.bundle.provenance import Provenance, check_plugged_in
from offsite.errors import BundleError, InputError, NotAllowedError
from offsite.events import Monitor
from offsite.exchange.listing import Listing, listings_of
from offsite.exchange.receiving import fetch_shard
from offsite.sealing import Envelope, PublicRing
from offsite.store import ObjectStore

_LONGEST = 8
_Reader = Callable[[], Envelope | None]


@dataclass(frozen=True)
class Auditor:
    """Reads an exchange, or the part of it that one party may read, with public keys only."""

    store: ObjectStore
    rings: Sequence[PublicRing]
    own: str | None = None
    """The party that audits, which may not read what others send each other; None: an outside
    auditor.
    """

    def envelopes(self) -> Iterator[Envelope | BundleError | NotAllowedError]:
        """List all readable envelopes; yields the error in place of an invalid one.

        Raises:
            NotAllowedError: Nothing is readable, as with wrong credentials.
        """

        def readers(listing: Listing) -> list[_Reader]:
            return [
                partial(listing.read, number, digest) for _, number, digest in _places([listing])
            ]

        return self._read(readers)

    def notices(self) -> Iterator[Envelope | BundleError | NotAllowedError]:
        """List all notices of failed stages; yields the error in place of an invalid one.

        Raises:
            NotAllowedError: Nothing is readable, as with wrong credentials.
        """
        return self._read(lambda listing: [listing.notice])

    def _read(
        self, readers: Callable[[Listing], list[_Reader]]
    ) -> Iterator[Envelope | BundleError | NotAllowedError]:
        for _, found in self._look():
            if isinstance(found, NotAllowedError):
                yield found
                continue
            for read in (read for listing in found for read in readers(listing)):
                try:
                    if (envelope := read()) is not None:
                        yield envelope
                except BundleError as error:
                    yield error

    def read(self, digest: str) -> Envelope:
        """Read an envelope, and verify its sender's signature.

        Raises:
            InputError: There is no such envelope.
            BundleError: It was changed.
        """
        return self._index().read(digest)

    def verify(self, digest: str, monitor: Monitor) -> Envelope:
        """Verify an envelope's signature, and the digest of every shard's ciphertext.

        The shards of a replaced envelope were deleted, which is not an error.

        Raises:
            InputError: There is no such envelope.
            BundleError: It, or a shard, was changed.
        """
        listing, sequence = self._index().find(digest)
        envelope = listing.read(sequence, digest)
        newest = next(listing.signed_from(sequence + 1), None)
        if newest is not None:
            monitor.log(f"sequence {newest} replaced it, so its shards are not verified")
            return envelope
        tracker = monitor.track("verify", max(1, len(envelope.header.shards)))
        for shard in envelope.header.shards:
            fetch_shard(self.store, f"{listing.prefix}{sequence}/", shard)
            tracker.advance()
            monitor.check()
        return envelope

    def chain(self, digest: str) -> list[Envelope]:
        """Follow an envelope to the one that it answers, and so on; newest first.

        Raises:
            InputError: A link is missing.
            BundleError: A link was changed, is not signed by its sender, or is between other
                parties.
        """
        index = self._index()
        links = [index.read(digest)]
        while (parent := links[-1].header.parent) is not None:
            answer, above = links[-1].header, index.read(parent)
            if (above.header.sender, above.header.recipient) != (answer.recipient, answer.sender):
                raise BundleError(
                    f"{answer.name} answers {above.header.name}, which was not sent to "
                    f"{answer.sender}; ask {answer.sender} to tune an emulator that it received"
                )
            if len(links) > _LONGEST:
                raise BundleError(
                    f"the chain of {links[0].header.name} has more than {_LONGEST} envelopes; ask "
                    f"{links[0].header.sender} to send it again"
                )
            links.append(above)
        if links[-1].header.kind != "emulator":
            first = links[-1].header
            raise BundleError(
                f"the chain ends at the {first.kind} {first.name}, not at an emulator; ask "
                f"{first.sender} to send it again"
            )
        return links

    def model(self, folder: Path) -> tuple[Provenance, list[Envelope]]:
        """Verify a plugged-in model, and follow its adapter to the emulator.

        Raises:
            InputError: A link is missing.
            BundleError: A file differs from the signed one, or the signer is not the adapter's
                recipient; else as for `chain`.
        """
        provenance = check_plugged_in(folder, self.rings)
        adapter, emulator = provenance.origin.adapter, provenance.origin.emulator
        links = self.chain(adapter)
        header = links[0].header
        if (header.kind, header.recipient) != ("adapter", provenance.made_by):
            raise BundleError(
                f"{folder} was signed by {provenance.made_by}, but the {header.kind} in it was "
                f"sent to {header.recipient}; ask {provenance.made_by} for its origin"
            )
        if header.parent != emulator:
            raise BundleError(
                f"{folder} names another emulator than the one that {adapter} answers; ask "
                f"{provenance.made_by} to plug the adapter in again"
            )
        return provenance, links

    def _pairs(self) -> Iterator[tuple[PublicRing, PublicRing]]:
        for pair in permutations(self.rings, 2):
            if self.own is None or self.own in (ring.id for ring in pair):
                yield pair

    def _look(self) -> Iterator[tuple[str, list[Listing] | NotAllowedError]]:
        """List what each party has sent to each other one, or the error of a list that is not
        allowed.

        Raises:
            NotAllowedError: Nothing may be listed, as with wrong credentials.
        """
        hidden, pairs = 0, list(self._pairs())
        for sender, recipient in pairs:
            found: list[Listing] | NotAllowedError
            try:
                found = listings_of(self.store, sender, recipient.id)
            except NotAllowedError as error:
                found, hidden = error, hidden + 1
                if hidden == len(pairs):
                    raise
            yield f"{sender.id} to {recipient.id}", found

    def _index(self) -> "_Index":
        """List the exchange once.

        Raises:
            NotAllowedError: As for `_look`.
        """
        looked = list(self._look())
        places = {
            digest: (listing, sequence)
            for _, found in looked
            if not isinstance(found, NotAllowedError)
            for listing, sequence, digest in _places(found)
        }
        parties = ", ".join(sorted(ring.id for ring in self.rings))
        hidden = [pair for pair, found in looked if isinstance(found, NotAllowedError)]
        return _Index(places, parties, hidden)


@dataclass(frozen=True)
class _Index:
    """The location of every envelope, by digest."""

    places: Mapping[str, tuple[Listing, int]]
    parties: str
    hidden: Sequence[str]
    """Pairs of parties whose envelopes cannot be listed."""

    def find(self, digest: str) -> tuple[Listing, int]:
        """Return the listing and the sequence of an envelope.

        Raises:
            InputError: There is no such envelope.
        """
        if digest in self.places:
            return self.places[digest]
        unseen = f"; no permission to list: {', '.join(self.hidden)}" if self.hidden else ""
        raise InputError(f"there is no envelope {digest} between {self.parties}{unseen}")

    def read(self, digest: str) -> Envelope:
        """Read an envelope, and verify its sender's signature."""
        listing, sequence = self.find(digest)
        return listing.read(sequence, digest)


def _places(listings: Iterable[Listing]) -> Iterator[tuple[Listing, int, str]]:
    """List the locations of envelopes, by name, sequence and digest."""
    for listing in listings:
        for sequence, digests in sorted(listing.envelopes.items()):
            for digest in sorted(digests):
                yield listing, sequence, digest
