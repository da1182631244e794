"""Sends a bundle: seals and puts its shards, then the envelope, without which nothing was sent."""

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
from offsite.exchange.confirm import arrived, check_there
from offsite.exchange.journal import Journal
from offsite.exchange.ledger import MOST_AHEAD
from offsite.exchange.listing import Listing, key_of
from offsite.exchange.mailbox import Mailbox, Sent
from offsite.exchange.workers import in_workers
from offsite.sealing import SHARD_SIZE, Envelope, Header, PublicRing, Shard, write_envelope
from offsite.sealing.envelope import Grant
from offsite.sealing.shards import place_of, seal_shard
from offsite.store import ObjectStore
from offsite.wire import digest_of, now

_MOST_STRAY = 100
"""Envelopes in a row that a store may list and that are not ours."""


@dataclass(frozen=True)
class Outgoing:
    """What is to be sent, and to whom."""

    folder: Path
    """A bundle: files and their manifest."""
    peer: str
    job: str
    parent: str | None = None
    """The envelope that it answers."""
    grant: Grant = field(default_factory=Grant)


def push(
    mailbox: Mailbox,
    outgoing: Outgoing,
    monitor: Monitor,
    approve: Callable[[str], None] = lambda digest: None,
) -> Sent:
    """Send a bundle to a peer. Cut off and called again, it goes on where it was.

    What the same job has sent already, and is there whole, is not sent again.

    Args:
        approve: called with the envelope's digest when all but the envelope is sent.

    Raises:
        InputError: the peer is not pinned, or somebody has no key left.
        OffsiteError: another process sends the same bundle.
        StorageError: the store did not take it; what it took already is not sent again.
    """
    peer = mailbox.peers.get(outgoing.peer)
    manifest, digest = read_manifest(outgoing.folder)
    with mailbox.sending(peer, manifest.name) as name:
        listing = mailbox.outgoing(peer, manifest.name)
        sequence = mailbox.ledger.allot(peer.id, manifest.name, outgoing.job)
        for envelope in listing.readable(sequence):
            if envelope.header.job == outgoing.job and listing.is_whole(envelope, peer):
                mailbox.journals.remove(name)
                return arrived(mailbox, peer, envelope)
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
        # one that is noted and not there may be on its way, from an attempt that is alive
        sent = _publish(mailbox, peer, envelope, noted if mailbox.alone else ())
        journal.end()
    return sent


def withdraw(mailbox: Mailbox, peer: str, name: str) -> Sent:
    """Take a bundle back: publish a signed tombstone, and delete every shard.

    What a push sent that never came to its envelope is taken back, too.

    Raises:
        InputError: the peer is not pinned, or was sent no such bundle.
        StorageError: the store did not take it.
    """
    ring, job = mailbox.peers.get(peer), secrets.token_hex(16)
    with mailbox.sending(ring, name) as journal:
        listing = mailbox.outgoing(ring, name)
        if not (listing.envelopes or listing.shards):
            raise InputError(f"{mailbox.id} has sent {ring.id} no {name}; see offsite bundles list")
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
        # the tombstone's own sequence, and later ones: of pushes that the ledger has lost
        mailbox.store.delete(
            f"{listing.prefix}{n}/{each}" for n, s in listing.shards.items() for each in s
        )
        return sent


def _free(mailbox: Mailbox, listing: Listing, peer: str, name: str, sequence: int, job: str) -> int:
    """Take a later sequence if there is an envelope in an allotted one, or ours in one above it.

    In the first a receiver would take either. The second is so when the ledger was lost. No more
    are left out at a time than a receiver lets a sequence be ahead.

    Raises:
        StorageError: the store lists more than that of what is not ours.
    """
    spent = sequence - 1
    while (later := next(listing.signed_from(spent + 1, spent + MOST_AHEAD), None)) is not None:
        spent = later
    free = next(n for n in itertools.count(spent + 1) if n not in listing.envelopes)
    if free > spent + _MOST_STRAY:
        raise StorageError(
            f"{mailbox.store.uri(listing.prefix)} lists {free - spent - 1} envelopes in a row that "
            "are not ours; have the store looked at, or send under another name"
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
    """Put the envelope, and tidy up; `noted` as there."""
    mailbox.store.put(key_of(envelope), envelope.content)
    return arrived(mailbox, peer, envelope, noted)
