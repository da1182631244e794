"""The desk of what is mounted: a party's keys and account may change while the operator runs."""

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from offsite.api import JobSpec
from offsite.errors import OffsiteError
from offsite_operator.incoming import Desk
from offsite_operator.observed import Incoming, Peer

log = logging.getLogger(__name__)


class MountedDesk:
    """Looks with the files that are mounted now: a kubelet brings a changed Secret in a minute."""

    def __init__(self, files: Sequence[Path], make: Callable[[], Desk]) -> None:
        """Make the desk.

        Args:
            files: what it is made of.
            make: makes it; raises `OffsiteError` if the files are no good.
        """
        self._files, self._make = files, make
        self._lock = threading.Lock()
        self._read = self._contents()
        self._desk = make()

    def look(self, spec: JobSpec, peer: Peer) -> Incoming:
        """See `Desk.look`."""
        return self.current().look(spec, peer)

    def current(self) -> Desk:
        """Give the desk, made anew if a file has changed and the files are good."""
        with self._lock:
            contents = self._contents()
            if contents != self._read:
                self._read = contents
                try:
                    self._desk = self._make()
                    log.info("the keys or the account of the exchange are others now")
                except OffsiteError as error:
                    log.error("what was mounted before is used on: %s", error)
            return self._desk

    def _contents(self) -> list[bytes | None]:
        return [_content(path) for path in self._files]


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:  # who makes the desk says so
        return None
