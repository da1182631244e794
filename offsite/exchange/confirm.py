"""Confirms that the store holds what was sent, and only then deletes older shards."""

from collections.abc import Iterable, Sequence

from offsite.errors import StorageError
from offsite.exchange.listing import Listing, key_of
from offsite.exchange.mailbox import Mailbox, Sent
from offsite.sealing import Envelope, PublicRing, Shard
from offsite.store import ObjectStore


def check_there(store: ObjectStore, prefix: str, shards: Sequence[Shard]) -> None:
    """Check that the store shows what it took, before anything says that it is there.

    Raises:
        StorageError: it does not.
    """
    there = store.sizes(prefix)
    if missing := [shard for shard in shards if there.get(prefix + shard.sha256) != shard.size]:
        raise StorageError(
            f"{store.uri(prefix)} lacks {len(missing)} of the {len(shards)} shards that it took; "
            "run this again, and if that does not help, have the store looked at"
        )


def find_sent(mailbox: Mailbox, peer: str, name: str, digest: str) -> Sent | None:
    """Look for a bundle that we sent, and tidy up if whoever sent it was cut off before that.

    Returns:
        None if it is not in the exchange with all its shards, or the peer cannot open it.

    Raises:
        BundleError: its envelope was changed.
        OffsiteError: another process sends a bundle of that name.
        StorageError: the store did not tell, or did not delete what is old.
    """
    ring = mailbox.peers.get(peer)
    with mailbox.sending(ring, name) as journal:
        listing = mailbox.outgoing(ring, name)
        envelope = listing.find(digest)
        if envelope is None or not listing.is_whole(envelope, ring):
            return None
        mailbox.journals.remove(journal)
        return tidied(listing, envelope)


def arrived(
    mailbox: Mailbox, peer: PublicRing, envelope: Envelope, noted: Iterable[Shard] = ()
) -> Sent:
    """Check that the store shows an envelope, and tidy up as `tidied`.

    Raises:
        StorageError: it does not.
    """
    header, listing = envelope.header, mailbox.outgoing(peer, envelope.header.name)
    if envelope.digest not in listing.envelopes.get(header.sequence, ()):
        raise StorageError(
            f"{listing.store.uri(key_of(envelope))} is missing, although the store accepted it; "
            "run this again, and if that does not help, check the store"
        )
    return tidied(listing, envelope, noted)


def tidied(listing: Listing, envelope: Envelope, noted: Iterable[Shard] = ()) -> Sent:
    """Delete what an envelope that is there takes the place of: older shards, and a notice.

    Args:
        noted: what earlier attempts of ours may have sent in this sequence.
    """
    header = envelope.header
    # of this sequence only what is ours: another attempt of this job may publish in it, too
    strays = {shard.sha256 for shard in noted} - {shard.sha256 for shard in header.shards}
    old = [
        f"{listing.prefix}{number}/{each}"
        for number, there in listing.shards.items()
        for each in there
        if number < header.sequence or (number == header.sequence and each in strays)
    ]
    listing.store.delete([*old, listing.notice_key] if listing.noticed else old)
    return Sent(envelope.digest, header.sequence, listing.store.uri(listing.prefix))
