"""A step in a pod: what its task and its mounted files say, and what it hands to the next step.

Steps hand things on below `work/<uid of the job>/` in the party's private store: `opened`, `result`
with the notes beside it, and checkpoints. None does again what an earlier attempt of it did.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from offsite.api import JobSpec
from offsite.bundle import MANIFEST
from offsite.errors import BundleError, InputError, OffsiteError
from offsite.events import Monitor
from offsite.exchange import Mailbox, Reference
from offsite.exchange.home import passphrase_of
from offsite.sealing import load_ring
from offsite.sealing.peers import Peers
from offsite.steps.ending import end, has_ended
from offsite.steps.export import ORIGIN, refuse_taken_place
from offsite.steps.opening import open_bundle
from offsite.steps.party import Party
from offsite.steps.pinned import PinnedBooks
from offsite.steps.publishing import DRAFT
from offsite.steps.workspace import ATTEMPT, Workspace
from offsite.store import ObjectStore, write_whole
from offsite.store.cabinet import Cabinet, cabinet_of
from offsite.store.library import Library
from offsite.store.open import open_store
from offsite.task import Task

_OPENED = "envelope"
"""The note of the envelope that was opened: what was made of another one is not of this one."""
_NOTES = (DRAFT, ORIGIN, ATTEMPT)
"""What goes with a result. The last one is handed on last: where it is, the result is."""
_LEFT = timedelta(days=1)
"""For how long before jobs were listed nobody wrote what is deleted: a list may lack the newest."""


@dataclass(frozen=True)
class Pod:
    """A task, and where the files are that it needs: as the operator mounts them, by default."""

    task: Task
    environ: Mapping[str, str]

    @property
    def scratch(self) -> Path:
        """Where the pod may write; it goes with it."""
        return Path(self.environ.get("OFFSITE_SCRATCH", "/tmp/offsite"))

    def at(self, scratch: Path) -> "Pod":
        """Get the same with another scratch folder."""
        scratch.mkdir(parents=True, exist_ok=True)
        return Pod(self.task, {**self.environ, "OFFSITE_SCRATCH": str(scratch)})

    def party(self, mailbox: Mailbox | None = None) -> Party:
        """Describe the party whose pod this is."""
        library = self._library(mailbox.store if mailbox else None)
        return Party(
            id=self.task.party,
            home=self.scratch,
            library=library,
            cabinet=cabinet_of(self.task.private, library),
            checkpoint_seconds=self.task.checkpoint_seconds,
            claims=Path(self.environ.get("OFFSITE_CLAIMS", "/mnt/claims")),
            limits=self.task.limits,
        )

    def mailbox(self) -> Mailbox:
        """Open the exchange, for a step that holds keys.

        Raises:
            InputError: the keys are of another party, or the peer's public file is not the peer's.
        """
        task, alias = self.task, self.task.job.spec.peer
        assert task.exchange is not None
        assert task.public is not None
        keys = Path(self.environ.get("OFFSITE_RING", "/etc/offsite/identity/ring.json"))
        ring, peers = load_ring(keys, passphrase_of(self.environ)), Peers(self.scratch / "peers")
        peer = peers.add(task.public.encode(), f"OffsitePeer {alias}", alias)
        for found, wanted, what in (
            (ring.id, task.party, "the identity"),
            (peer.id, task.peer_id, f"the OffsitePeer {alias}"),
        ):
            if found != wanted:
                raise InputError(f"{what} holds the keys of {found}, not of {wanted}")
        store = open_store(task.exchange, "OFFSITE_EXCHANGE", self.environ)
        books = PinnedBooks(task.envelope, task.sequence)
        # where they outlast this pod
        kept = "/".join((task.private.rstrip("/"), "work", task.uid, "journals"))
        journals, pulls = cabinet_of(kept, self._library(store)), self.scratch / "pulls"
        return Mailbox(ring, peers, store, books, pulls, journals, alone=False)

    def _library(self, exchange: ObjectStore | None) -> Library:
        # whoever sends in other processes hands them a copy
        return Library(self.scratch / "copies", exchange, dict(self.environ))

    def space(self, party: Party) -> Workspace:
        """Make the workspace: the job's uid stands for everything that decides its result."""
        task, folder = self.task, self.scratch / "work"
        folder.mkdir(parents=True, exist_ok=True)
        name, spec = task.job.metadata.name, task.job.spec
        return Workspace(party, name, spec, task.peer_id, task.uid, folder, uid=task.uid)


def run_open(pod: Pod, monitor: Monitor) -> None:
    """Open the envelope that the operator entered, and hand on what was in it.

    Raises:
        InputError: something else is where the model is to go that the stage makes.
        BundleError: it may not be used.
        StorageError: a store did not give or take it.
    """
    task, mailbox = pod.task, pod.mailbox()
    party = pod.party(mailbox)
    space, name = pod.space(party), f"work/{task.uid}/opened"
    if task.job.spec.plug_in is not None:
        refuse_taken_place(space, mailbox)
    envelope = mailbox.incoming(task.job.spec.peer, Reference(wanted(task.job.spec), task.envelope))
    _begin_with(envelope.digest, task.uid, party.cabinet)
    open_bundle(space, envelope, mailbox, monitor)
    tracker = monitor.track("hand on", sum(1 for _ in space.opened.iterdir()))
    party.cabinet.put(space.opened, name, MANIFEST, tracker.advance)


def _begin_with(digest: str, uid: str, cabinet: Cabinet) -> None:
    """Delete what an earlier attempt handed on, if that opened another envelope."""
    note = f"work/{uid}/{_OPENED}"
    if cabinet.read(note) not in (None, digest.encode()):
        _clear(uid, cabinet)
    cabinet.write(note, digest.encode())


def wanted(spec: JobSpec) -> str:
    """Name the bundle that a job opens."""
    named = spec.tune.bundle if spec.tune else spec.plug_in.adapter if spec.plug_in else ""
    return Reference.parse(named).name


def run_publish(pod: Pod, monitor: Monitor) -> None:
    """Publish the result that was handed on: to the peer, or to where the plugged-in model goes.

    An earlier attempt may have done so, and have been killed before it could say so.

    Raises:
        BundleError: there is none.
        StorageError: a store did not give or take it.
    """
    task, mailbox = pod.task, pod.mailbox()
    party = pod.party(mailbox)
    space = pod.space(party)
    if has_result(task, party.cabinet):
        _fetch_result(task, space)
        end(space, mailbox, monitor)
    elif not has_ended(space, mailbox, monitor):
        raise BundleError(f"there is no result at {party.cabinet.uri(f'work/{task.uid}')}")
    _clear(task.uid, party.cabinet)
    _sweep(task, party.cabinet, monitor)


def _clear(uid: str, cabinet: Cabinet) -> None:
    """Delete what steps of a job handed on; first what says that there is a result."""
    cabinet.remove(f"work/{uid}/notes")
    cabinet.remove(f"work/{uid}")


def _sweep(task: Task, cabinet: Cabinet, monitor: Monitor) -> None:
    """Delete what jobs left that are gone: a job that is deleted has nobody to do it."""
    if task.jobs is None or task.listed is None:
        return
    try:
        for uid in cabinet.idle("work", task.listed - _LEFT):
            if uid not in task.jobs:
                _clear(uid, cabinet)
                monitor.log(f"deleted {cabinet.uri(f'work/{uid}')}: its job is gone")
    except OffsiteError as error:
        monitor.log(f"what jobs left that are gone is not deleted now: {error}")


def has_result(task: Task, cabinet: Cabinet) -> bool:
    """Whether an earlier attempt handed on its result, whole."""
    return cabinet.read(f"work/{task.uid}/notes/{_NOTES[-1]}") is not None


def keep_result(task: Task, space: Workspace, monitor: Monitor) -> None:
    """Hand on a result and the notes beside it."""
    cabinet, last = space.party.cabinet, _last(space)
    tracker = monitor.track("hand on", sum(1 for _ in space.result.iterdir()))
    cabinet.put(space.result, f"work/{task.uid}/result", last, tracker.advance)
    for note in _NOTES:
        with suppress(FileNotFoundError):
            cabinet.write(f"work/{task.uid}/notes/{note}", (space.folder / note).read_bytes())


def _fetch_result(task: Task, space: Workspace) -> None:
    """Get a result that was handed on.

    Raises:
        BundleError: there is none.
    """
    cabinet = space.party.cabinet
    folder = cabinet.folder(f"work/{task.uid}/result", _last(space))
    if folder is None:
        raise BundleError(f"there is no result at {cabinet.uri(f'work/{task.uid}')}")
    for note in _NOTES:
        if (content := cabinet.read(f"work/{task.uid}/notes/{note}")) is not None:
            write_whole(space.folder / note, content)
    lay_out(folder, space.result)


def lay_out(folder: Path, place: Path) -> None:
    """Give a workspace what lies in the cabinet: it may be large, and is on this disk already."""
    place.symlink_to(folder, target_is_directory=True)


def _last(space: Workspace) -> str:
    return MANIFEST if space.spec.plug_in is None else "config.json"
