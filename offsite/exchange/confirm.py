"""Confirms that the store holds what was sent, and only then deletes older shards."""

from collections.abc import Iterable, Sequence

from offsite.errors import StorageError
from offsite.exchange.listing import Listing, key_of
from offsite.exchange.mailbox import Mailbox, Sent
from offsite.sealing import Envelope, PublicRing, Shard
from offsite.store import ObjectStore


def check_there(store: ObjectStore, prefix: str, shards: Sequence[Shard]) -> None:
    """Check that the store lists all shards that it accepted.

    Raises:
        StorageError: It does not.
    """
    there = store.sizes(prefix)
    if missing := [shard for shard in shards if there.get(prefix + shard.sha256) != shard.size]:
        raise StorageError(
            f"{store.uri(prefix)} lacks {len(missing)} of the {len(shards)} shards that it "
            "accepted; "
            "run this again, and if that does not help, check the store"
        )


def find_sent(mailbox: Mailbox, peer: str, name: str, digest: str) -> Sent | None:
    """Find a bundle that we sent, and finish the clean-up of an interrupted push.

    Returns:
        None if it is not complete in the exchange, or if the peer has no key to open it.

    Raises:
        BundleError: Its envelope was changed.
        OffsiteError: Another process sends a bundle of that name.
        StorageError: The store is unavailable.
    """
    ring = mailbox.peers.get(peer)
    with mailbox.sending(ring, name) as journal:
        listing = mailbox.outgoing(ring, name)
        envelope = listing.find(digest)
        if envelope is None or not listing.is_whole(envelope, ring):
            return None
        mailbox.journals.remove(journal)
        return tidy(listing, envelope)


def confirm(
    mailbox: Mailbox, peer: PublicRing, envelope: Envelope, noted: Iterable[Shard] = ()
) -> Sent:
    """Check that the store lists an envelope, and delete what it replaces.

    Raises:
        StorageError: It does not.
    """
    header, listing = envelope.header, mailbox.outgoing(peer, envelope.header.name)
    if envelope.digest not in listing.envelopes.get(header.sequence, ()):
        raise StorageError(
            f"{listing.store.uri(key_of(envelope))} is missing, although the store accepted it; "
            "run this again, and if that does not help, check the store"
        )
    return tidy(listing, envelope, noted)


def tidy(listing: Listing, envelope: Envelope, noted: Iterable[Shard] = ()) -> Sent:
    """Delete what a published envelope replaces: older shards, and a notice.

    Args:
        noted: Shards that earlier attempts may have sent with this sequence.
    """
    header = envelope.header
    # of this sequence only our own: another attempt of the job may publish with it, too
    strays = {shard.sha256 for shard in noted} - {shard.sha256 for shard in header.shards}
    old = [
        f"{listing.prefix}{number}/{each}"
        for number, there in listing.shards.items()
        for each in there
        if number < header.sequence or (number == header.sequence and each in strays)
    ]
    listing.store.delete([*old, listing.notice_key] if listing.noticed else old)
    return Sent(envelope.digest, header.sequence, listing.store.uri(listing.prefix))
