"""What anybody can check who has the public keys, and no private one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

from offsite.bundle.provenance import Provenance, check_plugged_in
from offsite.errors import BundleError, InputError, NotAllowedError
from offsite.events import Monitor
from offsite.exchange.mailbox import LEAF, envelope_name, listing_of, prefix_of, read_at
from offsite.exchange.receiving import fetch_shard
from offsite.sealing import Envelope, PublicRing
from offsite.store import ObjectStore

_LONGEST = 8


class _Place(NamedTuple):
    """Where an envelope lies, and whose it should be."""

    prefix: str
    sequence: int
    key: str
    sender: PublicRing


@dataclass(frozen=True)
class Witness:
    """Somebody who may read an exchange, or what is his own there, and has the public keys."""

    store: ObjectStore
    rings: Sequence[PublicRing]
    own: str | None = None
    """The party that looks; it may not look at what others send to each other."""

    def envelopes(self) -> Iterator[Envelope | BundleError | NotAllowedError]:
        """List every envelope that there is to see; in the place of a bad one, what is wrong."""
        for sender, recipient in self._pairs():
            try:
                places = self._places(sender, recipient)
            except NotAllowedError as error:
                yield error
                continue
            for place in places:
                try:
                    yield self._read(place)
                except BundleError as error:
                    yield error

    def read(self, digest: str) -> Envelope:
        """Read an envelope, and check that its sender signed it.

        Raises:
            InputError: there is none.
            BundleError: it was changed.
        """
        return self._read(self._find(digest))

    def verify(self, digest: str, monitor: Monitor) -> Envelope:
        """Check an envelope: its signature, and the digest of every shard's ciphertext.

        Of one that a newer one took the place of, the shards are gone, and that is no fault.

        Raises:
            InputError: there is none.
            BundleError: it was changed.
        """
        place = self._find(digest)
        envelope = self._read(place)
        newest = max(listing_of(self.store, place.prefix).envelopes, default=place.sequence)
        if newest > place.sequence:
            monitor.log(f"sequence {newest} took the place of it, so its shards are not looked at")
            return envelope
        tracker = monitor.track("verify", max(1, len(envelope.header.shards)))
        for shard in envelope.header.shards:
            fetch_shard(self.store, f"{place.prefix}{place.sequence}/", shard)
            tracker.advance()
            monitor.check()
        return envelope

    def chain(self, digest: str) -> list[Envelope]:
        """Walk from an envelope to the one that it answers, and so on to the first; newest first.

        Raises:
            InputError: a link is missing.
            BundleError: it was changed, not signed by its sender, or is between other parties.
        """
        links = [self.read(digest)]
        while (parent := links[-1].header.parent) is not None:
            answer, above = links[-1].header, self.read(parent)
            if (above.header.sender, above.header.recipient) != (answer.recipient, answer.sender):
                raise BundleError(
                    f"{answer.name} answers {above.header.name}, which was not sent to it"
                )
            if len(links) > _LONGEST:
                raise BundleError("the chain of envelopes has no end")
            links.append(above)
        if links[-1].header.kind != "emulator":
            first = links[-1].header
            raise BundleError(
                f"the chain ends at the {first.kind} {first.name}, not at an emulator"
            )
        return links

    def model(self, folder: Path) -> tuple[Provenance, list[Envelope]]:
        """Check a plugged-in model, and walk from the adapter in it to the emulator.

        Raises:
            InputError: a link is missing.
            BundleError: a file is not as it was signed, or the party that signed it is not the
                one that the adapter was sent to; else as `chain`.
        """
        provenance = check_plugged_in(folder, self.rings)
        adapter, emulator = provenance.origin.adapter, provenance.origin.emulator
        links = self.chain(adapter)
        header = links[0].header
        if (header.kind, header.recipient) != ("adapter", provenance.made_by):
            raise BundleError(
                f"{folder} was signed by {provenance.made_by}, but the {header.kind} in it was "
                f"sent to {header.recipient}"
            )
        if header.parent != emulator:
            raise BundleError(
                f"{folder} names another emulator than the one that {adapter} answers"
            )
        return provenance, links

    def _pairs(self) -> Iterator[tuple[PublicRing, PublicRing]]:
        for pair in permutations(self.rings, 2):
            if self.own is None or self.own in (ring.id for ring in pair):
                yield pair

    def _places(self, sender: PublicRing, recipient: PublicRing) -> list[_Place]:
        """List where one's envelopes to another lie: by name and sequence."""
        pair, found = f"{sender.id}/{recipient.id}/", list[_Place]()
        for key in self.store.sizes(pair):
            name, _, rest = key.removeprefix(pair).partition("/")
            if (leaf := LEAF.fullmatch(rest)) and leaf[2]:
                prefix = prefix_of(sender.id, recipient.id, name)
                found.append(_Place(prefix, int(leaf[1]), key, sender))
        return sorted(found, key=lambda place: place[:3])

    def _read(self, place: _Place) -> Envelope:
        return read_at(self.store, place.sender, place.key, place.prefix, place.sequence)

    def _find(self, digest: str) -> _Place:
        leaf, hidden = envelope_name(digest), list[str]()
        for sender, recipient in self._pairs():
            try:
                places = self._places(sender, recipient)
            except NotAllowedError:
                hidden.append(f"{sender.id} to {recipient.id}")
                continue
            for place in places:
                if place.key.endswith(f"/{leaf}"):
                    return place
        parties = ", ".join(sorted(ring.id for ring in self.rings))
        unseen = f"; not to be seen: {', '.join(hidden)}" if hidden else ""
        raise InputError(f"there is no envelope {digest} between {parties}{unseen}")
