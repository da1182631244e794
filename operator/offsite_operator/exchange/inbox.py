"""Looks up what a peer sent, verified with public keys only: the operator holds no private keys."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from offsite.api import JobSpec
from offsite.errors import BundleError, InputError, NotSentError, OffsiteError, StorageError
from offsite.exchange.audit import Auditor
from offsite.exchange.grants import check_term, check_use
from offsite.exchange.mailbox import Inbox, Reference
from offsite.sealing import Envelope, PublicRing
from offsite.sealing.envelope import Header
from offsite.store import ObjectStore
from offsite_operator.observe.model import (
    Found,
    Incoming,
    NotYet,
    Peer,
    Refused,
    Unreachable,
    ring_of,
)

_PAUSE = 10.0
"""Seconds without requests after the store failed."""


@dataclass
class _PeerBook:
    """The keys and the ledger of one OffsitePeer, in the interface that `Inbox` needs."""

    peer: Peer
    entered: list[tuple[str, int, str]] = field(default_factory=list)
    """Envelopes to record in the ledger although they are refused."""

    def get(self, alias: str) -> PublicRing:
        return ring_of(self.peer)

    def accepted(self, peer: str, name: str) -> list[list[Any]]:
        known = self.peer.status.accepted
        return [[each.sequence, each.envelope] for each in known if each.bundle == name]

    def accept(self, peer: str, name: str, sequence: int, digest: str) -> None:
        self.entered.append((name, sequence, digest))


@dataclass
class ExchangeInbox:
    """Looks up the bundles that peers sent to this party."""

    own: PublicRing
    store: ObjectStore
    _away: tuple[float, Unreachable] | None = None
    """When the store failed, and its error. Waiting jobs share it instead of each waiting for a
    timeout.
    """

    def look(self, spec: JobSpec, peer: Peer) -> Incoming:
        """Find the envelope that a job may open."""
        if self._away is not None and time.monotonic() - self._away[0] < _PAUSE:
            return self._away[1]
        found = self._look(spec, peer)
        self._away = (time.monotonic(), found) if isinstance(found, Unreachable) else None
        return found

    def _look(self, spec: JobSpec, peer: Peer) -> Incoming:
        book, reference = _PeerBook(peer), Reference.opened_by(spec)
        if reference is None:
            return Refused(f"a {spec.stage} job opens no bundle")
        inbox = Inbox(self.own.id, book, self.store, book)
        try:
            envelope = inbox.incoming(peer.alias, reference)
            self._check(spec, peer, envelope)
        except NotSentError as error:
            return _not_yet(inbox, peer, reference, str(error))
        except InputError as error:
            entered = (Found(digest, name, seq, None) for name, seq, digest in book.entered)
            return Refused(str(error), next(entered, None))
        except StorageError as error:
            return Unreachable(str(error))
        header = envelope.header
        return Found(envelope.digest, header.name, header.sequence, header.parent)

    def _check(self, spec: JobSpec, peer: Peer, envelope: Envelope) -> None:
        header = envelope.header
        kind = "emulator" if spec.stage == "Tune" else "adapter"
        if header.kind != kind:
            raise BundleError(f"{header.name} is an {header.kind}, and {spec.stage} needs {kind}")
        known = {each.envelope for each in peer.status.accepted}
        if envelope.digest in known:
            return  # already accepted, so already counted
        if kind == "emulator":
            check_term(header)
        else:
            self._check_use(peer, header)

    def _check_use(self, peer: Peer, header: Header) -> None:
        """Enforce our own grant: each adapter envelope is one use."""
        if header.parent is None:
            raise BundleError(f"{header.name} does not name the emulator that it was tuned from")
        parties = [self.own, ring_of(peer)]
        grant = Auditor(self.store, parties, self.own.id).read(header.parent).header.grant
        used = {each.envelope for each in peer.status.accepted if each.parent == header.parent}
        check_use(grant, header.parent, len(used))


def _not_yet(inbox: Inbox, peer: Peer, reference: Reference, detail: str) -> Incoming:
    """Check whether the peer left a notice instead of a bundle."""
    try:
        notice = inbox.notice(peer.alias, reference.name)
    except StorageError as error:
        return Unreachable(str(error))
    return NotYet(f"{detail}; the job starts when it arrives", notice.digest if notice else None)


class Lookup(Protocol):
    """Looks up what peers sent."""

    def look(self, spec: JobSpec, peer: Peer) -> Incoming:
        """See `ExchangeInbox.look`."""
        ...


log = logging.getLogger(__name__)


class MountedInbox:
    """An inbox that reloads when mounted files change; the kubelet updates a Secret within a
    minute.
    """

    def __init__(self, files: Sequence[Path], make: Callable[[], ExchangeInbox]) -> None:
        """Create the inbox.

        Args:
            files: The files that the inbox depends on.
            make: Creates the inbox; raises `OffsiteError` if the files are not valid.
        """
        self._files, self._make = files, make
        self._lock = threading.Lock()
        self._read = self._contents()
        self._inbox = make()

    def look(self, spec: JobSpec, peer: Peer) -> Incoming:
        """See `ExchangeInbox.look`."""
        return self.current().look(spec, peer)

    def current(self) -> ExchangeInbox:
        """Return the inbox, recreated if a file has changed and the files are valid."""
        with self._lock:
            contents = self._contents()
            if contents != self._read:
                self._read = contents
                try:
                    self._inbox = self._make()
                    log.info("reloaded the keys and the credentials of the exchange")
                except OffsiteError as error:
                    log.error("reload failed; keeping the previous credentials: %s", error)
            return self._inbox

    def _contents(self) -> list[bytes | None]:
        return [_content(path) for path in self._files]


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:  # `make` reports it
        return None
