"""Exports a plugged-in model: signs it, and writes it to a folder or to the private store."""

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
from offsite.steps.scale import scaled_origin
from offsite.steps.workspace import Workspace
from offsite.store import link_or_copy, publish, whole_folder, write_whole
from offsite.store.private_store import PrivateStore

ORIGIN = "origin.json"
"""The origin of a plugged-in model, written when its adapter is opened."""


class ExportTarget(Protocol):
    """The target of a finished model."""

    @property
    def uri(self) -> str:
        """The target's URI."""
        ...

    def is_taken(self) -> bool:
        """Return whether the target exists."""
        ...

    def holds(self, digest: str) -> bool:
        """Return whether the complete model with this digest is at the target."""
        ...

    def try_writing(self) -> None:
        """Write and delete a probe beside the target."""
        ...

    def deliver(self, model: Path, monitor: Monitor) -> None:
        """Write a finished model to the target."""
        ...


def export_of(space: Workspace, mailbox: Mailbox) -> ExportTarget:
    """Return the target of a job's model; by default a folder of the party's artifacts.

    Raises:
        InputError: The target is in the exchange, where the peer could read it.
    """
    party, chosen = space.party, space.spec.export_to
    place = chosen or party.artifacts.uri(f"models/{space.name}")
    if place.startswith("s3://"):
        return BucketExport(place.rstrip("/"), party.private_store, mailbox.ring.public())
    folder = party.path(place)
    is_own = chosen is None or folder.is_relative_to(party.home.resolve())
    return FolderExport(folder, shared=not is_own)


def resume_export(space: Workspace, job: PlugIn, mailbox: Mailbox, monitor: Monitor) -> bool:
    """Report a model that an earlier attempt exported, or export its finished result.

    Returns:
        Whether the model is at its target.

    Raises:
        InputError: Something else is at the target.
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
            f"{export.uri} differs from what this job wrote; move it away, and run the job again"
        )
    monitor.artifact(space.name, note.digest, export.uri, note.size)
    return True


def check_place(space: Workspace, mailbox: Mailbox) -> None:
    """Check the target before the work.

    Raises:
        InputError: The target exists and is not this job's own, or is not writable.
        StorageError: The private store does not accept writes.
    """
    export, note = export_of(space, mailbox), space.published()
    ours = note is not None and note.fingerprint == space.fingerprint
    if export.is_taken() and not ours:
        raise _taken(export)
    export.try_writing()


def export_model(space: Workspace, job: PlugIn, mailbox: Mailbox, monitor: Monitor) -> None:
    """Sign the plugged-in model and export it, unless it is already at its target.

    Raises:
        ModelError, BundleError: The model is not what the job requests; see `check_plugged`.
        InputError: Something else is at the target.
    """
    export = export_of(space, mailbox)
    files = check_plugged(space, job)
    origin = scaled_origin(space, job, Origin.model_validate_json(space.known(ORIGIN)))
    digest = digest_of_model({name: entry.sha256 for name, entry in files.items()})
    note = space.published()
    ours = note is not None and (note.fingerprint, note.digest) == (space.fingerprint, digest)
    if export.is_taken() and not ours:
        raise _taken(export)
    size = sum(path.stat().st_size for path in space.result.iterdir())
    if not (ours and export.holds(digest)):
        write_provenance(space.result, mailbox.ring, origin, files)
        space.remember(digest, size)
        export.deliver(space.result, monitor)
    monitor.artifact(space.name, digest, export.uri, size)
    with suppress(StorageError):  # retracting earlier notices is best effort
        retract(mailbox, space.spec.peer, space.name)


def _taken(export: ExportTarget) -> InputError:
    return InputError(f"{export.uri} already exists; choose another export.to, or another job name")


@dataclass(frozen=True)
class FolderExport:
    """A folder, which appears atomically."""

    folder: Path
    shared: bool = False
    """Whether the umask sets its permissions: a target that the job chose, outside the home."""

    @property
    def uri(self) -> str:
        """See `ExportTarget.uri`."""
        return self.folder.as_uri()

    def is_taken(self) -> bool:
        """See `ExportTarget.is_taken`. An empty folder counts as free."""
        return self.folder.exists() and not (self.folder.is_dir() and _is_empty(self.folder))

    def holds(self, digest: str) -> bool:
        """See `ExportTarget.holds`."""
        try:
            return model_digest(self.folder) == digest
        except ModelError:
            return False

    def try_writing(self) -> None:
        """See `ExportTarget.try_writing`."""
        there = next(folder for folder in self.folder.parents if folder.exists())
        probe = there / f".{self.folder.name}.offsite-check"
        write_whole(probe, b"")
        probe.unlink()

    def deliver(self, model: Path, monitor: Monitor) -> None:
        """See `ExportTarget.deliver`."""
        with whole_folder(self.folder) as scratch:
            for path in model.iterdir():
                link_or_copy(path, scratch / path.name)
                monitor.check()
            if self.shared:
                publish(scratch)


@dataclass(frozen=True)
class BucketExport:
    """A prefix of the private store. The provenance file is written last: it marks it complete."""

    uri: str
    private_store: PrivateStore
    own: PublicRing

    def is_taken(self) -> bool:
        """See `ExportTarget.is_taken`."""
        return bool(self.private_store.sizes(self.uri))

    def holds(self, digest: str) -> bool:
        """See `ExportTarget.holds`. The store is trusted, so comparing sizes suffices."""
        try:
            content = self.private_store.read(f"{self.uri}/{PROVENANCE}", LARGEST_PROVENANCE)
            files = read_provenance(content, [self.own], self.uri).files
        except (NotFoundError, BundleError):
            return False
        there = self.private_store.sizes(self.uri)
        exported = digest_of_model({name: entry.sha256 for name, entry in files.items()})
        return exported == digest and all(there.get(n) == e.size for n, e in files.items())

    def try_writing(self) -> None:
        """See `ExportTarget.try_writing`."""
        # outside the target: leftovers of a killed process must not occupy it
        probe = f"{self.uri}.offsite-check"
        self.private_store.write(f"{probe}/probe", b"offsite: a check\n")
        self.private_store.remove(probe)

    def deliver(self, model: Path, monitor: Monitor) -> None:
        """See `ExportTarget.deliver`."""
        tracker = monitor.track("export", sum(1 for _ in model.iterdir()))

        def done() -> None:
            tracker.advance()
            monitor.check()

        self.private_store.put_folder(model, self.uri, PROVENANCE, done)


def _is_empty(folder: Path) -> bool:
    found: Iterator[Path] = folder.iterdir()
    return next(found, None) is None
