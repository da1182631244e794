"""What anybody can check who has the public keys, and no private one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

from offsite.errors import BundleError, InputError
from offsite.events import Monitor
from offsite.exchange.mailbox import envelope_name, listing_of, prefix_of, read_at
from offsite.exchange.receiving import fetch_shard
from offsite.sealing import Envelope, PublicRing
from offsite.store import ObjectStore

_LONGEST = 8


@dataclass(frozen=True)
class Witness:
    """Somebody who may read an exchange, and has the public keys of the parties."""

    store: ObjectStore
    rings: Sequence[PublicRing]

    def envelopes(self) -> Iterator[Envelope | BundleError]:
        """List every envelope between the parties; in the place of a bad one, what is wrong."""
        for sender, recipient in permutations(self.rings, 2):
            keys = self._keys(sender.id, recipient.id)
            for name in sorted({key.split("/")[2] for key in keys}):
                prefix = prefix_of(sender.id, recipient.id, name)
                for sequence, found in sorted(listing_of(self.store, prefix).envelopes.items()):
                    for key in sorted(found):
                        try:
                            yield read_at(self.store, sender, key, prefix, sequence)
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

    def _keys(self, sender: str, recipient: str) -> list[str]:
        listed = self.store.sizes(f"{sender}/{recipient}/")
        return [key for key in listed if key.count("/") == 4]

    def _find(self, digest: str) -> Envelope:
        leaf = envelope_name(digest)
        for sender, recipient in permutations(self.rings, 2):
            for key in self._keys(sender.id, recipient.id):
                _, _, name, sequence, last = key.split("/")
                if last == leaf and sequence.isdecimal():
                    prefix = prefix_of(sender.id, recipient.id, name)
                    return read_at(self.store, sender, key, prefix, int(sequence))
        parties = ", ".join(sorted(ring.id for ring in self.rings))
        raise InputError(f"there is no envelope {digest} between {parties}")
