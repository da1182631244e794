"""What anybody can check who has the public keys, and no private one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import NamedTuple

from offsite.errors import BundleError, InputError
from offsite.events import Monitor
from offsite.exchange.mailbox import LEAF, envelope_name, prefix_of, read_at
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
    """Somebody who may read an exchange, and has the public keys of the parties."""

    store: ObjectStore
    rings: Sequence[PublicRing]

    def envelopes(self) -> Iterator[Envelope | BundleError]:
        """List every envelope between the parties; in the place of a bad one, what is wrong."""
        for place in self._places():
            try:
                yield self._read(place)
            except BundleError as error:
                yield error

    def verify(self, digest: str, monitor: Monitor) -> Envelope:
        """Check an envelope: its signature, and the digest of every shard's ciphertext.

        Raises:
            InputError: there is none.
            BundleError: it was changed.
        """
        header = (envelope := self._find(digest)).header
        prefix = prefix_of(header.sender, header.recipient, header.name)
        tracker = monitor.track("verify", max(1, len(header.shards)))
        for shard in header.shards:
            fetch_shard(self.store, f"{prefix}{header.sequence}/", shard)
            tracker.advance()
            monitor.check()
        return envelope

    def chain(self, digest: str) -> list[Envelope]:
        """Walk from an envelope to the one that it answers, and so on to the first; newest first.

        Raises:
            InputError: a link is missing.
            BundleError: it was changed, not signed by its sender, or is between other parties.
        """
        links = [self._find(digest)]
        while (parent := links[-1].header.parent) is not None:
            answer, above = links[-1].header, self._find(parent)
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

    def _places(self) -> Iterator[_Place]:
        """List where the parties' envelopes lie: by pair, name and sequence."""
        for sender, recipient in permutations(self.rings, 2):
            pair = f"{sender.id}/{recipient.id}/"
            found: list[_Place] = []
            for key in self.store.sizes(pair):
                name, _, rest = key.removeprefix(pair).partition("/")
                if (leaf := LEAF.fullmatch(rest)) and leaf[2]:
                    prefix = prefix_of(sender.id, recipient.id, name)
                    found.append(_Place(prefix, int(leaf[1]), key, sender))
            yield from sorted(found, key=lambda place: place[:3])

    def _read(self, place: _Place) -> Envelope:
        return read_at(self.store, place.sender, place.key, place.prefix, place.sequence)

    def _find(self, digest: str) -> Envelope:
        leaf = envelope_name(digest)
        for place in self._places():
            if place.key.endswith(f"/{leaf}"):
                return self._read(place)
        parties = ", ".join(sorted(ring.id for ring in self.rings))
        raise InputError(f"there is no envelope {digest} between {parties}")
