"""Where a plugged-in model goes: a folder of this machine, or a prefix of the private store."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from offsite.bundle import PROVENANCE
from offsite.bundle.provenance import LARGEST_PROVENANCE, read_provenance
from offsite.errors import BundleError, ModelError, NotFoundError
from offsite.events import Monitor
from offsite.sealing import PublicRing
from offsite.stages.places import digest_of_model, model_digest
from offsite.stages.workspace import Workspace
from offsite.store import FolderStore, whole_folder
from offsite.store.library import Library
from offsite.store.open import refuse_same_place


class Export(Protocol):
    """A place for a finished model."""

    @property
    def uri(self) -> str:
        """The place, for people and programs."""
        ...

    def is_taken(self) -> bool:
        """Whether something is there."""
        ...

    def holds(self, digest: str) -> bool:
        """Whether the model of this digest is there, whole."""
        ...

    def is_waiting(self) -> bool:
        """Whether a finished model waits to be delivered: an attempt was cut off."""
        ...

    def filling(self) -> AbstractContextManager[Path]:
        """Fill a folder that is a finished model when the `with` block ends."""
        ...

    def deliver(self, monitor: Monitor) -> None:
        """Bring what was filled to its place, if it is not there yet."""
        ...


def export_of(space: Workspace, location: str | None) -> Export:
    """Find where the model of a job goes; without a location, into the party's own home.

    Raises:
        InputError: it is in the exchange, where the peer would read it.
    """
    party = space.party
    if location is not None and location.startswith("s3://"):
        return BucketExport(
            location.rstrip("/"), party.library, party.mailbox.ring.public(), space.result
        )
    folder = party.path(location) if location else party.home / "models" / space.job
    refuse_same_place(party.mailbox.store, FolderStore(folder))
    return FolderExport(folder)


@dataclass(frozen=True)
class FolderExport:
    """A folder; it appears whole."""

    folder: Path

    @property
    def uri(self) -> str:
        """See `Export.uri`."""
        return self.folder.as_uri()

    def is_taken(self) -> bool:
        """See `Export.is_taken`. An empty folder is a place to fill."""
        return self.folder.exists() and not (self.folder.is_dir() and _is_empty(self.folder))

    def holds(self, digest: str) -> bool:
        """See `Export.holds`."""
        try:
            return model_digest(self.folder) == digest
        except ModelError:
            return False

    def is_waiting(self) -> bool:
        """See `Export.is_waiting`."""
        return False

    def filling(self) -> AbstractContextManager[Path]:
        """See `Export.filling`."""
        return whole_folder(self.folder)

    def deliver(self, monitor: Monitor) -> None:
        """See `Export.deliver`: it is there already."""


@dataclass(frozen=True)
class BucketExport:
    """A prefix of the private store. What says what the model is, is written last."""

    uri: str
    library: Library
    own: PublicRing
    finished: Path
    """Where the model lies until it is there."""

    def is_taken(self) -> bool:
        """See `Export.is_taken`."""
        return bool(self.library.sizes(self.uri))

    def holds(self, digest: str) -> bool:
        """See `Export.holds`. The store is trusted, so that sizes suffice."""
        try:
            content = self.library.read(f"{self.uri}/{PROVENANCE}", LARGEST_PROVENANCE)
            files = read_provenance(content, [self.own], self.uri).files
        except (NotFoundError, BundleError):
            return False
        there = self.library.sizes(self.uri)
        told = digest_of_model({name: entry.sha256 for name, entry in files.items()})
        return told == digest and all(there.get(n) == e.size for n, e in files.items())

    def is_waiting(self) -> bool:
        """See `Export.is_waiting`."""
        return self.finished.exists()

    def filling(self) -> AbstractContextManager[Path]:
        """See `Export.filling`."""
        return whole_folder(self.finished)

    def deliver(self, monitor: Monitor) -> None:
        """See `Export.deliver`."""
        tracker = monitor.track("export", sum(1 for _ in self.finished.iterdir()))

        def done() -> None:
            tracker.advance()
            monitor.check()

        self.library.put_folder(self.finished, self.uri, PROVENANCE, done)


def _is_empty(folder: Path) -> bool:
    found: Iterator[Path] = folder.iterdir()
    return next(found, None) is None
