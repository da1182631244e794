"""The hand-over between the steps of a job, in the private store.

Below `work/<uid of the job>/`, which is all that the step that trains sees of what its party keeps:

    given/          what the first step found out, for the one that trains: notes
    opened/         what the peer sent, opened
    checkpoint-*/   what a later attempt goes on from
    result/         what was made, and waits to be sent
    notes/          what goes with it
    run.json        the record of the training so far (`recording`)
    log/            logs of the pods of that step (`offsite.logs`)

Below `kept/<uid of the job>/`, which only steps that hold keys see: what the first one found out,
for the last one, and journals of what was sent (`pod`).

The step that trains may run an image that a job's author chose, and go on in a pod that was given
up. So one that holds keys copies what it uses, follows no link, and checks the copy. None of the
steps does again what an earlier attempt of it did.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from offsite.bundle import MANIFEST
from offsite.errors import BundleError, OffsiteError
from offsite.events import Monitor
from offsite.logs.kept import KeptLogs, forget
from offsite.release.figures import AUDITED
from offsite.steps.disclosing import DISCLOSED
from offsite.steps.export import ORIGIN
from offsite.steps.publishing import DRAFT
from offsite.steps.results import most_of
from offsite.steps.workspace import ANSWERED, ATTEMPT, FIGURES, HEAD, SCALE, SOURCE, Workspace
from offsite.store import link_or_copy, write_whole
from offsite.store.artifact_store import ArtifactStore
from offsite.task import KEPT, WORK, Jobs

_GIVEN = (ANSWERED,)
"""Notes of the first step that the training step gets."""
_KEPT = (SOURCE, ANSWERED, ORIGIN, HEAD)
"""Notes of the first step for the last step, independent of what the training step did to its
copies.
"""
_NOTES = (DRAFT, FIGURES, AUDITED, SCALE, ATTEMPT)
"""Notes that accompany a result. The last one is written last, and marks the result as complete."""
_LEFT = timedelta(days=1)
"""Minimum age of leftovers to delete: the list of jobs may lack the newest ones."""


@dataclass(frozen=True)
class Handover:
    """The files that the steps of one job hand over."""

    uid: str
    artifacts: ArtifactStore

    @property
    def uri(self) -> str:
        """The folder's URI, for messages."""
        return self.artifacts.uri(self._name())

    def begin_with(self, envelope: str) -> None:
        """Delete the files of an earlier attempt that opened another envelope."""
        note = self._kept("envelope")
        if self.artifacts.read(note) not in (None, envelope.encode()):
            self.clear()
        self.artifacts.write(note, envelope.encode())

    def give(self, space: Workspace, monitor: Monitor) -> None:
        """Hand over the notes of the first step and the opened bundle."""
        # the folder must exist, with our ownership, before the training pod mounts it
        self.artifacts.write(self._name("given/job"), space.name.encode())
        self._put_notes({note: self._kept(note) for note in _KEPT}, space)
        self._put_notes({note: self._name(f"given/{note}") for note in _GIVEN}, space)
        with suppress(FileNotFoundError):
            # once: an attempt that chose other blocks could not resume from the last checkpoint
            content = (space.folder / DISCLOSED).read_bytes()
            self.artifacts.add(self._name(f"given/{DISCLOSED}"), content)
        if space.opened.is_dir():
            tracker = monitor.track("hand on", sum(1 for _ in space.opened.iterdir()))
            self.artifacts.put(space.opened, self._name("opened"), MANIFEST, tracker.advance)

    def take_given(self, space: Workspace) -> None:
        """Fetch the training step's inputs.

        Raises:
            BundleError: The opened bundle is missing.
        """
        given = (*_GIVEN, DISCLOSED)
        self._take_notes({note: self._name(f"given/{note}") for note in given}, space)
        if space.spec.distill is None:
            folder = self.artifacts.folder(self._name("opened"), MANIFEST)
            if folder is None:
                raise BundleError(
                    f"there is no opened bundle at {self.artifacts.uri(self._name('opened'))}"
                )
            # it may be large, and is already on this disk
            space.opened.symlink_to(folder, target_is_directory=True)

    def take_checkpoint(self, name: str, space: Workspace) -> None:
        """Fetch the checkpoint of an earlier attempt, if there is one."""
        path = space.checkpoint
        if folder := self.artifacts.folder(self._name(name), path.name):
            path.parent.mkdir(0o700, exist_ok=True)
            link_or_copy(folder / path.name, path)

    def keep_checkpoint(self, name: str, space: Workspace) -> None:
        """Save the newest checkpoint."""
        path = space.checkpoint
        self.artifacts.put(path.parent, self._name(name), path.name, lambda: None)

    def has_result(self) -> bool:
        """Return whether an earlier attempt handed over a complete result."""
        return self.artifacts.read(self._name(f"notes/{_NOTES[-1]}")) is not None

    def keep_result(self, space: Workspace, monitor: Monitor) -> None:
        """Hand over a result and its notes."""
        tracker = monitor.track("hand on", sum(1 for _ in space.result.iterdir()))
        self.artifacts.put(space.result, self._name("result"), _last(space), tracker.advance)
        self._put_notes({note: self._name(f"notes/{note}") for note in _NOTES}, space)

    def take_result(self, space: Workspace) -> None:
        """Copy the handed-over result to a folder that no other pod can change.

        Raises:
            BundleError: There is no result.
            InputError: It contains more than files, or is larger than possible.
        """
        self._take_notes({note: self._kept(note) for note in _KEPT}, space)
        self._take_notes({note: self._name(f"notes/{note}") for note in _NOTES[:-1]}, space)
        if not self.artifacts.take(self._name("result"), space.result, most_of(space)):
            raise BundleError(f"there is no result at {self.uri}")

    def clear(self) -> None:
        """Delete everything but logs, beginning with the mark of a complete result."""
        KeptLogs(self.artifacts, self.uid).collect()
        self.artifacts.remove(self._name("notes"))
        self.artifacts.remove(self._name())
        self.artifacts.remove(self._kept())

    def _put_notes(self, places: Mapping[str, str], space: Workspace) -> None:
        for note, place in places.items():
            with suppress(FileNotFoundError):
                self.artifacts.write(place, (space.folder / note).read_bytes())

    def _take_notes(self, places: Mapping[str, str], space: Workspace) -> None:
        for note, place in places.items():
            if (content := self.artifacts.read(place)) is not None:
                write_whole(space.folder / note, content)

    def _name(self, part: str = "") -> str:
        return f"{WORK}/{self.uid}/{part}".rstrip("/")

    def _kept(self, part: str = "") -> str:
        return f"{KEPT}/{self.uid}/{part}".rstrip("/")


def sweep(jobs: Jobs | None, artifacts: ArtifactStore, log_days: int, monitor: Monitor) -> None:
    """Delete leftovers of deleted jobs.

    Args:
        jobs: The existing jobs; None: unknown.
        log_days: How long their logs are kept.
    """
    if jobs is None:
        return
    try:
        idle = {
            uid for folder in (WORK, KEPT) for uid in artifacts.idle(folder, jobs.listed - _LEFT)
        }
        for uid in sorted(idle):
            if uid not in jobs.uids:
                left = Handover(uid, artifacts)
                left.clear()
                monitor.log(f"deleted {left.uri}: its job no longer exists")
        for uid in forget(artifacts, jobs, log_days):
            monitor.log(f"deleted the logs of the job {uid}, which no longer exists")
    except OffsiteError as error:
        monitor.log(f"could not delete leftovers of deleted jobs: {error}")


def _last(space: Workspace) -> str:
    return MANIFEST if space.spec.plug_in is None else "config.json"
