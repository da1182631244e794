"""The hand-over between the steps of a job, in the private store.

Below `work/<uid of the job>/`, which is all that the step that trains sees of what its party keeps:

    given/          what the first step found out, for the one that trains: notes
    opened/         what the peer sent, opened
    checkpoint-*/   what a later attempt goes on from
    result/         what was made, and waits to be sent
    notes/          what goes with it

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
from offsite.steps.disclosing import DISCLOSED
from offsite.steps.export import ORIGIN
from offsite.steps.publishing import DRAFT
from offsite.steps.results import most_of
from offsite.steps.workspace import ANSWERED, ATTEMPT, SOURCE, Workspace
from offsite.store import link_or_copy, write_whole
from offsite.store.artifact_store import ArtifactStore
from offsite.task import KEPT, WORK, Jobs

_GIVEN = (ANSWERED,)
"""Notes in the first step's workspace that the one that trains has in its own."""
_KEPT = (SOURCE, ANSWERED, ORIGIN)
"""Those that the last step has, whatever the one that trains did to its own."""
_NOTES = (DRAFT, ATTEMPT)
"""What goes with a result. The last one is handed on last: where it is, the result is."""
_LEFT = timedelta(days=1)
"""For how long before jobs were listed nobody wrote what is deleted: a list may lack the newest."""


@dataclass(frozen=True)
class Handover:
    """What one job's steps hand on."""

    uid: str
    artifacts: ArtifactStore

    @property
    def uri(self) -> str:
        """Where it lies, for people."""
        return self.artifacts.uri(self._name())

    def begin_with(self, envelope: str) -> None:
        """Delete what an earlier attempt handed on, if that opened another envelope."""
        note = self._kept("envelope")
        if self.artifacts.read(note) not in (None, envelope.encode()):
            self.clear()
        self.artifacts.write(note, envelope.encode())

    def give(self, space: Workspace, monitor: Monitor) -> None:
        """Hand on what the first step found out and opened."""
        # the folder has to be there, and ours, before it is mounted for the one that trains
        self.artifacts.write(self._name("given/job"), space.name.encode())
        self._put_notes({note: self._kept(note) for note in _KEPT}, space)
        self._put_notes({note: self._name(f"given/{note}") for note in _GIVEN}, space)
        with suppress(FileNotFoundError):
            # once: an attempt that chose other blocks could not go on from the last checkpoint
            content = (space.folder / DISCLOSED).read_bytes()
            self.artifacts.add(self._name(f"given/{DISCLOSED}"), content)
        if space.opened.is_dir():
            tracker = monitor.track("hand on", sum(1 for _ in space.opened.iterdir()))
            self.artifacts.put(space.opened, self._name("opened"), MANIFEST, tracker.advance)

    def take_given(self, space: Workspace) -> None:
        """Get what was given to the step that trains.

        Raises:
            BundleError: a bundle was to be opened, and there is none.
        """
        given = (*_GIVEN, DISCLOSED)
        self._take_notes({note: self._name(f"given/{note}") for note in given}, space)
        if space.spec.distill is None:
            folder = self.artifacts.folder(self._name("opened"), MANIFEST)
            if folder is None:
                raise BundleError(
                    f"there is no opened bundle at {self.artifacts.uri(self._name('opened'))}"
                )
            # it may be large, and is on this disk already
            space.opened.symlink_to(folder, target_is_directory=True)

    def take_checkpoint(self, name: str, space: Workspace) -> None:
        """Get the checkpoint that an earlier attempt kept, if there is one."""
        path = space.checkpoint
        if folder := self.artifacts.folder(self._name(name), path.name):
            path.parent.mkdir(0o700, exist_ok=True)
            link_or_copy(folder / path.name, path)

    def keep_checkpoint(self, name: str, space: Workspace) -> None:
        """Keep the newest checkpoint."""
        path = space.checkpoint
        self.artifacts.put(path.parent, self._name(name), path.name, lambda: None)

    def has_result(self) -> bool:
        """Whether an earlier attempt handed on its result, whole."""
        return self.artifacts.read(self._name(f"notes/{_NOTES[-1]}")) is not None

    def keep_result(self, space: Workspace, monitor: Monitor) -> None:
        """Hand on a result and the notes beside it."""
        tracker = monitor.track("hand on", sum(1 for _ in space.result.iterdir()))
        self.artifacts.put(space.result, self._name("result"), _last(space), tracker.advance)
        self._put_notes({note: self._name(f"notes/{note}") for note in _NOTES}, space)

    def take_result(self, space: Workspace) -> None:
        """Copy a result that was handed on to where nobody else changes it.

        Raises:
            BundleError: there is none.
            InputError: it is more than files, or larger than it can be.
        """
        self._take_notes({note: self._kept(note) for note in _KEPT}, space)
        self._take_notes({DRAFT: self._name(f"notes/{DRAFT}")}, space)
        if not self.artifacts.take(self._name("result"), space.result, most_of(space)):
            raise BundleError(f"there is no result at {self.uri}")

    def clear(self) -> None:
        """Delete it all; first what says that there is a result."""
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


def sweep(jobs: Jobs | None, artifacts: ArtifactStore, monitor: Monitor) -> None:
    """Delete what deleted jobs left behind.

    Args:
        jobs: those that there are; None: they are not known.
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
                monitor.log(f"deleted {left.uri}: its job is gone")
    except OffsiteError as error:
        monitor.log(f"what jobs left that are gone is not deleted now: {error}")


def _last(space: Workspace) -> str:
    return MANIFEST if space.spec.plug_in is None else "config.json"
