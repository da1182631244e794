"""Exports a plugged-in model: signs it, and writes it to a folder or the private store."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from offsite.api import PlugIn
from offsite.bundle import PROVENANCE, Origin, write_provenance
from offsite.bundle.provenance import LARGEST_PROVENANCE, read_provenance
from offsite.errors import BundleError, InputError, ModelError, NotFoundError, StorageError
from offsite.events import Monitor
from offsite.exchange import Mailbox, retract
from offsite.sealing import PublicRing
from offsite.steps.places import digest_of_model, model_digest
from offsite.steps.results import check_plugged
from offsite.steps.workspace import Workspace
from offsite.store import link_or_copy, publish, whole_folder, write_whole
from offsite.store.private_store import PrivateStore

ORIGIN = "origin.json"
"""What a plugged-in model is made of: written when its adapter was opened."""


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

    def try_writing(self) -> None:
        """Write something beside the place, and delete it."""
        ...

    def deliver(self, model: Path, monitor: Monitor) -> None:
        """Bring a finished model to its place."""
        ...


def export_of(space: Workspace, mailbox: Mailbox) -> Export:
    """Find where the model of a job goes; without a location, to where the party keeps its own.

    Raises:
        InputError: it is in the exchange, where the peer would read it.
    """
    party, chosen = space.party, space.spec.export_to
    place = chosen or party.artifacts.uri(f"models/{space.name}")
    if place.startswith("s3://"):
        return BucketExport(place.rstrip("/"), party.private_store, mailbox.ring.public())
    folder = party.path(place)
    is_own = chosen is None or folder.is_relative_to(party.home.resolve())
    return FolderExport(folder, shared=not is_own)


def resume_export(space: Workspace, job: PlugIn, mailbox: Mailbox, monitor: Monitor) -> bool:
    """Report the model that an earlier attempt exported; export one that is not yet.

    Returns:
        whether the model is at its place.

    Raises:
        InputError: something else is there.
    """
    export, note = export_of(space, mailbox), space.published()
    ours = note is not None and note.fingerprint == space.fingerprint
    if space.is_finished:
        export_model(space, job, mailbox, monitor)
        return True
    if not export.is_taken():
        return False
    if note is None or not ours:
        raise _taken(export)
    if not export.holds(note.digest):
        raise InputError(
            f"{export.uri} is not what this job wrote; move it away to have it made again"
        )
    monitor.artifact(space.name, note.digest, export.uri, note.size)
    return True


def check_place(space: Workspace, mailbox: Mailbox) -> None:
    """Look at the place of a model before anything is made for it.

    Raises:
        InputError: there is something else than what this very job has written, or nothing can be
            written there.
        StorageError: the private store does not take what is written.
    """
    export, note = export_of(space, mailbox), space.published()
    ours = note is not None and note.fingerprint == space.fingerprint
    if export.is_taken() and not ours:
        raise _taken(export)
    export.try_writing()


def export_model(space: Workspace, job: PlugIn, mailbox: Mailbox, monitor: Monitor) -> None:
    """Sign the plugged-in model and export it, if it is not at its place yet.

    Raises:
        ModelError, BundleError: it is not the model that the job was to make, as `check_plugged`.
        InputError: there is something else.
    """
    export = export_of(space, mailbox)
    check_plugged(space, job)
    origin = Origin.model_validate_json(space.known(ORIGIN))
    digest, note = model_digest(space.result), space.published()
    ours = note is not None and (note.fingerprint, note.digest) == (space.fingerprint, digest)
    if export.is_taken() and not ours:
        raise _taken(export)
    size = sum(path.stat().st_size for path in space.result.iterdir())
    if not (ours and export.holds(digest)):
        write_provenance(space.result, mailbox.ring, origin)
        space.remember(digest, size)
        export.deliver(space.result, monitor)
    monitor.artifact(space.name, digest, export.uri, size)
    with suppress(StorageError):  # what the peer was told before is a matter of courtesy
        retract(mailbox, space.spec.peer, space.name)


def _taken(export: Export) -> InputError:
    return InputError(f"{export.uri} is there already; name another place, or another job")


@dataclass(frozen=True)
class FolderExport:
    """A folder; it appears whole."""

    folder: Path
    shared: bool = False
    """Whether the umask says who may read it: a place of the job's choice, outside the home."""

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

    def try_writing(self) -> None:
        """See `Export.try_writing`."""
        there = next(folder for folder in self.folder.parents if folder.exists())
        probe = there / f".{self.folder.name}.offsite-check"
        write_whole(probe, b"")
        probe.unlink()

    def deliver(self, model: Path, monitor: Monitor) -> None:
        """See `Export.deliver`."""
        with whole_folder(self.folder) as scratch:
            for path in model.iterdir():
                link_or_copy(path, scratch / path.name)
                monitor.check()
            if self.shared:
                publish(scratch)


@dataclass(frozen=True)
class BucketExport:
    """A prefix of the private store. What says what the model is, is written last."""

    uri: str
    private_store: PrivateStore
    own: PublicRing

    def is_taken(self) -> bool:
        """See `Export.is_taken`."""
        return bool(self.private_store.sizes(self.uri))

    def holds(self, digest: str) -> bool:
        """See `Export.holds`. The store is trusted, so that sizes suffice."""
        try:
            content = self.private_store.read(f"{self.uri}/{PROVENANCE}", LARGEST_PROVENANCE)
            files = read_provenance(content, [self.own], self.uri).files
        except (NotFoundError, BundleError):
            return False
        there = self.private_store.sizes(self.uri)
        told = digest_of_model({name: entry.sha256 for name, entry in files.items()})
        return told == digest and all(there.get(n) == e.size for n, e in files.items())

    def try_writing(self) -> None:
        """See `Export.try_writing`."""
        # no part of the place itself: what is left there of a killed process would take it
        probe = f"{self.uri}.offsite-check"
        self.private_store.write(f"{probe}/probe", b"offsite: a check\n")
        self.private_store.remove(probe)

    def deliver(self, model: Path, monitor: Monitor) -> None:
        """See `Export.deliver`."""
        tracker = monitor.track("export", sum(1 for _ in model.iterdir()))

        def done() -> None:
            tracker.advance()
            monitor.check()

        self.private_store.put_folder(model, self.uri, PROVENANCE, done)


def _is_empty(folder: Path) -> bool:
    found: Iterator[Path] = folder.iterdir()
    return next(found, None) is None
