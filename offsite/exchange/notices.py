"""Notifies a peer that a stage failed: one small object that replaces the previous one."""

import secrets
from contextlib import suppress
from dataclasses import dataclass

from offsite.errors import BundleError
from offsite.exchange.listing import key_of
from offsite.exchange.mailbox import Mailbox
from offsite.sealing import Header, Notice, write_notice
from offsite.wire import now


@dataclass(frozen=True)
class Failed:
    """A job whose stage failed, and how much of it its peer is told."""

    peer: str
    name: str
    """The job's, and that of what it would have published."""
    job: str
    """One job, tried again, is of one id."""
    notice: Notice
    round: int = 1
    """Of its job: 2 after its first retry."""
    parent: str | None = None
    """The envelope that it opened."""


def send_notice(mailbox: Mailbox, failed: Failed) -> bool:
    """Notify the peer that a job failed.

    Returns:
        whether the notice is new; one is sent for each round of a job.

    Raises:
        InputError: the peer is not pinned, or somebody has no key left.
        StorageError: the store did not take it.
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
    """Take a notice back, as its job has made what it was to make.

    Raises:
        InputError: the peer is not pinned.
        StorageError: the store did not delete it.
    """
    listing = mailbox.outgoing(mailbox.peers.get(peer), name)
    if listing.noticed:
        mailbox.store.delete([listing.notice_key])
