"""Notifies a peer that a stage failed: one small object, which replaces the previous notice."""

import secrets
from contextlib import suppress
from dataclasses import dataclass

from offsite.errors import BundleError
from offsite.exchange.listing import key_of
from offsite.exchange.mailbox import Mailbox
from offsite.sealing import Header, Notice, write_notice
from offsite.wire import now


@dataclass(frozen=True)
class FailedJob:
    """A job whose stage failed, and what its peer learns."""

    peer: str
    name: str
    """Name of the job and of its bundle."""
    job: str
    """Id of the job, the same for all its retries."""
    notice: Notice
    round: int = 1
    """Round of the job: 2 after its first retry."""
    parent: str | None = None
    """The envelope that the job opened."""


def send_notice(mailbox: Mailbox, failed: FailedJob) -> bool:
    """Notify the peer that a job failed.

    Returns:
        Whether the notice is new; each round of a job sends one.

    Raises:
        InputError: The peer is not pinned, or a party has no valid key.
        StorageError: The store did not accept the notice.
    """
    peer = mailbox.peers.get(failed.peer)
    header = Header(
        bundle=secrets.token_hex(16),
        name=failed.name,
        kind="notice",
        sender=mailbox.id,
        recipient=peer.id,
        job=failed.job,
        sequence=failed.round,
        created=now(),
        parent=failed.parent,
        shards=(),
    )
    with suppress(BundleError):
        there = mailbox.outgoing(peer, failed.name).notice()
        if there and (there.header.job, there.header.sequence) == (failed.job, failed.round):
            return False
    envelope = write_notice(header, failed.notice, mailbox.ring, peer)
    mailbox.store.put(key_of(envelope), envelope.content)
    return True


def retract(mailbox: Mailbox, peer: str, name: str) -> None:
    """Withdraw a notice after its job has succeeded.

    Raises:
        InputError: The peer is not pinned.
        StorageError: The store did not delete the notice.
    """
    listing = mailbox.outgoing(mailbox.peers.get(peer), name)
    if listing.noticed:
        mailbox.store.delete([listing.notice_key])
