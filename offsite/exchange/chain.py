"""What anybody can check who has the public keys, and no private one."""

from collections.abc import Iterator
from dataclasses import dataclass

from offsite.errors import BundleError, InputError
from offsite.events import Monitor
from offsite.exchange.mailbox import Mailbox, envelope_name, prefix_of
from offsite.exchange.receiving import fetch_shard
from offsite.sealing import Envelope, PublicRing


@dataclass(frozen=True)
class Link:
    """One envelope of a chain."""

    envelope: Envelope
    prefix: str


def verify_bundle(mailbox: Mailbox, digest: str, monitor: Monitor) -> Envelope:
    """Check an envelope: its signature, and the digest of every shard's ciphertext.

    Raises:
        BundleError: there is none, or it was changed.
    """
    link = _find(mailbox, digest)
    header = link.envelope.header
    tracker = monitor.track("verify", max(1, len(header.shards)))
    for shard in header.shards:
        fetch_shard(mailbox.store, f"{link.prefix}{header.sequence}/", shard)
        tracker.advance()
        monitor.check()
    return link.envelope


def verify_chain(mailbox: Mailbox, digest: str) -> list[Envelope]:
    """Walk from an envelope to the one that it answers, and so on to the first; newest first.

    Raises:
        BundleError: a link is missing, changed, not signed by its sender, or between other parties.
    """
    chain = [_find(mailbox, digest).envelope]
    while (parent := chain[-1].header.parent) is not None:
        answer = chain[-1].header
        above = _find(mailbox, parent).envelope
        if (above.header.sender, above.header.recipient) != (answer.recipient, answer.sender):
            raise BundleError(
                f"{answer.name} answers {above.header.name}, which was not sent to it"
            )
        if len(chain) > 8:
            raise BundleError("the chain of envelopes has no end")
        chain.append(above)
    return chain


def envelopes(mailbox: Mailbox) -> Iterator[Envelope]:
    """List every envelope between this party and its peers, in both directions."""
    for sender, recipient, ring in _pairs(mailbox):
        names = {key.split("/")[2] for key in mailbox.store.sizes(f"{sender}/{recipient}/")}
        for name in sorted(names):
            prefix = prefix_of(sender, recipient, name)
            for sequence, keys in sorted(mailbox.listing(prefix).envelopes.items()):
                for key in sorted(keys):
                    yield mailbox.read(ring, key, prefix, sequence)


def _pairs(mailbox: Mailbox) -> Iterator[tuple[str, str, PublicRing]]:
    ours = mailbox.ring.public()
    for peer in mailbox.peers.all().values():
        yield mailbox.id, peer.id, ours
        yield peer.id, mailbox.id, peer


def _find(mailbox: Mailbox, digest: str) -> Link:
    leaf = envelope_name(digest)
    for sender, recipient, ring in _pairs(mailbox):
        for key in mailbox.store.sizes(f"{sender}/{recipient}/"):
            parts = key.split("/")
            if len(parts) == 5 and parts[4] == leaf and parts[3].isdecimal():
                prefix = prefix_of(sender, recipient, parts[2])
                return Link(mailbox.read(ring, key, prefix, int(parts[3])), prefix)
    raise InputError(f"there is no envelope {digest} between {mailbox.id} and its peers")
