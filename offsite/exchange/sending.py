"""Sends a bundle: seals and uploads its shards, then the envelope that makes it valid."""

import itertools
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from offsite.bundle import Manifest, read_manifest
from offsite.errors import InputError, StorageError
from offsite.events import Monitor
from offsite.exchange.chunking import Chunk, chunks_of
from offsite.exchange.confirm import check_there, confirm
from offsite.exchange.journal import Journal
from offsite.exchange.ledger import MOST_AHEAD
from offsite.exchange.listing import Listing, key_of
from offsite.exchange.mailbox import Mailbox, Sent
from offsite.exchange.workers import in_workers
from offsite.sealing import SHARD_SIZE, Envelope, Header, PublicRing, Shard, write_envelope
from offsite.sealing.envelope import GrantTerms
from offsite.sealing.shards import place_of, seal_shard
from offsite.store import ObjectStore
from offsite.wire import digest_of, now

_MOST_STRAY = 100
"""Limit on consecutive listed envelopes that are not ours."""


@dataclass(frozen=True)
class Outgoing:
    """A bundle to send, and its recipient."""

    folder: Path
    """The bundle's folder: files and their manifest."""
    peer: str
    job: str
    parent: str | None = None
    """The envelope that it answers."""
    grant: GrantTerms = field(default_factory=GrantTerms)


def push(
    mailbox: Mailbox,
    outgoing: Outgoing,
    monitor: Monitor,
    approve: Callable[[str], None] = lambda digest: None,
) -> Sent:
    """Send a bundle to a peer. A repeated call continues an interrupted one.

    A complete bundle of the same job is not sent again.

    Args:
        approve: Called with the envelope's digest when only the envelope is left to send.

    Raises:
        InputError: The peer is not pinned, or a party has no valid key.
        OffsiteError: Another process sends the same bundle.
        StorageError: The store did not accept it. A retry does not resend accepted shards.
    """
    peer = mailbox.peers.get(outgoing.peer)
    manifest, digest = read_manifest(outgoing.folder)
    with mailbox.sending(peer, manifest.name) as name:
        listing = mailbox.outgoing(peer, manifest.name)
        sequence = mailbox.ledger.allot(peer.id, manifest.name, outgoing.job)
        for envelope in listing.readable(sequence):
            if envelope.header.job == outgoing.job and listing.is_whole(envelope, peer):
                mailbox.journals.remove(name)
                return confirm(mailbox, peer, envelope)
        sequence = _free(mailbox, listing, peer.id, manifest.name, sequence, outgoing.job)
        header = _header(mailbox, peer, outgoing, manifest, sequence)
        place, there = f"{listing.prefix}{sequence}/", listing.shards.get(sequence, {})
        uri = mailbox.store.uri(place)
        journal, noted = Journal.resume(mailbox.journals, name, mailbox.ring, uri, digest)
        done = [shard for shard in noted if there.get(shard.sha256) == shard.size]
        pieces = chunks_of(outgoing.folder, manifest)
        shards = _send(mailbox.store, place, journal, done, pieces, monitor)
        full = header.model_copy(update={"bundle": journal.start.bundle, "shards": tuple(shards)})
        envelope = write_envelope(full, journal.key, mailbox.ring, [peer])
        check_there(mailbox.store, place, shards)
        approve(envelope.digest)
        # noted shards that are not listed may still be in flight, from another live attempt
        sent = _publish(mailbox, peer, envelope, noted if mailbox.alone else ())
        journal.end()
    return sent


def withdraw(mailbox: Mailbox, peer: str, name: str) -> Sent:
    """Withdraw a bundle: publish a signed tombstone, and delete every shard.

    This also withdraws a push that never published its envelope.

    Raises:
        InputError: The peer is not pinned, or was sent no such bundle.
        StorageError: The store did not accept the tombstone.
    """
    ring, job = mailbox.peers.get(peer), secrets.token_hex(16)
    with mailbox.sending(ring, name) as journal:
        listing = mailbox.outgoing(ring, name)
        if not (listing.envelopes or listing.shards):
            raise InputError(
                f"{mailbox.id} has sent {ring.id} no bundle named {name}; "
                "see `offsite bundles list`"
            )
        mailbox.journals.remove(journal)
        sequence = mailbox.ledger.allot(ring.id, name, job)
        header = Header(
            bundle=secrets.token_hex(16),
            name=name,
            kind="tombstone",
            sender=mailbox.id,
            recipient=ring.id,
            job=job,
            sequence=_free(mailbox, listing, ring.id, name, sequence, job),
            created=now(),
            shards=(),
        )
        sent = _publish(mailbox, ring, write_envelope(header, None, mailbox.ring, []))
        # including the tombstone's own sequence and later ones, which a lost ledger may have left
        mailbox.store.delete(
            f"{listing.prefix}{n}/{each}" for n, s in listing.shards.items() for each in s
        )
        return sent


def _free(mailbox: Mailbox, listing: Listing, peer: str, name: str, sequence: int, job: str) -> int:
    """Allot a later sequence if the allotted one has an envelope, or a later one has one of ours.

    Otherwise a receiver could open either of the two. The second case means that the ledger was
    lost. The sequence advances at most as far as a receiver accepts.

    Raises:
        StorageError: The store lists too many envelopes that are not ours.
    """
    spent = sequence - 1
    while (later := next(listing.signed_from(spent + 1, spent + MOST_AHEAD), None)) is not None:
        spent = later
    free = next(n for n in itertools.count(spent + 1) if n not in listing.envelopes)
    if free > spent + _MOST_STRAY:
        raise StorageError(
            f"{mailbox.store.uri(listing.prefix)} lists {free - spent - 1} envelopes in a row that "
            "are not ours; check the store, or send under another name"
        )
    return mailbox.ledger.allot(peer, name, job, free - 1) if free > sequence else sequence


def _header(
    mailbox: Mailbox, peer: PublicRing, outgoing: Outgoing, manifest: Manifest, sequence: int
) -> Header:
    kind: Literal["emulator", "adapter"] = manifest.facts.kind
    return Header(
        bundle="0" * 32,
        name=manifest.name,
        kind=kind,
        sender=mailbox.id,
        recipient=peer.id,
        job=outgoing.job,
        sequence=sequence,
        created=now(),
        grant=outgoing.grant,
        parent=outgoing.parent,
        shards=(),
    )


def _send(
    store: ObjectStore,
    prefix: str,
    journal: Journal,
    sent: Iterable[Shard],
    pieces: Sequence[Chunk],
    monitor: Monitor,
) -> list[Shard]:
    done = {(shard.file, shard.number): shard for shard in sent}
    left = [piece for piece in pieces if (piece.file, piece.number) not in done]
    tracker = monitor.track("seal and send", len(pieces), start=len(done))
    task = partial(_seal_and_put, store, prefix, journal)
    for shard in in_workers(task, left, sum(piece.size for piece in left)):
        done[shard.file, shard.number] = shard
        tracker.advance()
        monitor.check()
    return [done[piece.file, piece.number] for piece in pieces]


def _seal_and_put(store: ObjectStore, prefix: str, journal: Journal, piece: Chunk) -> Shard:
    place = place_of(journal.start.bundle, piece.file, piece.number, piece.count)
    with piece.path.open("rb") as file:
        file.seek(piece.number * SHARD_SIZE)
        sealed = seal_shard(journal.key, file, piece.size, place)
    shard = Shard(
        file=piece.file,
        number=piece.number,
        count=piece.count,
        sha256=digest_of(sealed).removeprefix("sha256:"),
        size=len(sealed),
    )
    journal.add(shard)
    store.put(prefix + shard.sha256, sealed)
    return shard


def _publish(
    mailbox: Mailbox, peer: PublicRing, envelope: Envelope, noted: Iterable[Shard] = ()
) -> Sent:
    """Upload the envelope, and delete what it replaces."""
    mailbox.store.put(key_of(envelope), envelope.content)
    return confirm(mailbox, peer, envelope, noted)
