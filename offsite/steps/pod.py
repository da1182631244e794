"""The steps that hold keys, in a pod: its task, its mounts, and the steps Open and Publish."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from offsite.errors import BundleError, DisclosureError, InputError
from offsite.events import Monitor
from offsite.exchange import Mailbox, Reference
from offsite.exchange.home import passphrase_of
from offsite.mounts import CLAIMS, RING
from offsite.sealing import load_ring
from offsite.sealing.peers import Peers
from offsite.steps.disclosing import note_disclosed
from offsite.steps.ending import end, has_ended
from offsite.steps.handover import Handover, sweep
from offsite.steps.inputs import source_of
from offsite.steps.lending import lent
from offsite.steps.opening import prepare
from offsite.steps.party import Party
from offsite.steps.pinned import PinnedLedger
from offsite.steps.ready import check_possible, check_ready
from offsite.steps.workspace import Workspace
from offsite.store import ObjectStore, make_folders
from offsite.store.artifact_store import artifact_store_of
from offsite.store.open import open_store
from offsite.store.private_store import PrivateStore
from offsite.task import KEPT, Task


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
        make_folders(scratch)
        return Pod(self.task, {**self.environ, "OFFSITE_SCRATCH": str(scratch)})

    def party(self, mailbox: Mailbox | None = None) -> Party:
        """Describe the party whose pod this is."""
        private_store = self._private_store(mailbox.store if mailbox else None)
        return Party(
            id=self.task.party,
            home=self.scratch,
            private_store=private_store,
            artifacts=artifact_store_of(self.task.private, private_store),
            checkpoint_seconds=self.task.checkpoint_seconds,
            claims=Path(self.environ.get("OFFSITE_CLAIMS", CLAIMS)),
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
        keys = Path(self.environ.get("OFFSITE_RING", RING))
        ring, peers = load_ring(keys, passphrase_of(self.environ)), Peers(self.scratch / "peers")
        peer = peers.add(task.public.encode(), f"OffsitePeer {alias}", alias)
        for found, wanted, what in (
            (ring.id, task.party, "the identity"),
            (peer.id, task.peer_id, f"the OffsitePeer {alias}"),
        ):
            if found != wanted:
                raise InputError(f"{what} holds the keys of {found}, not of {wanted}")
        store = open_store(task.exchange, "OFFSITE_EXCHANGE", self.environ)
        ledger = PinnedLedger(task.envelope, task.sequence)
        # where they outlast this pod
        kept = "/".join((task.private.rstrip("/"), KEPT, task.uid, "journals"))
        journals, pulls = (
            artifact_store_of(kept, self._private_store(store)),
            self.scratch / "pulls",
        )
        return Mailbox(ring, peers, store, ledger, pulls, journals, alone=False)

    def _private_store(self, exchange: ObjectStore | None) -> PrivateStore:
        # whoever sends in other processes hands them a copy
        return PrivateStore(self.scratch / "copies", exchange, dict(self.environ))

    def space(self, party: Party) -> Workspace:
        """Make the workspace: the job's uid stands for everything that decides its result."""
        task, folder = self.task, self.scratch / "work"
        make_folders(folder)
        name, spec = task.job.metadata.name, task.job.spec
        return Workspace(party, name, spec, task.peer_id, task.uid, folder, uid=task.uid)


def run_open(pod: Pod, monitor: Monitor) -> None:
    """Check what can be known before the work, open the envelope that was entered, and hand on.

    Raises:
        InputError: a key is missing, or something else is where the model is to go.
        BundleError: what the peer sent may not be used.
        StorageError: a store did not give or take something.
    """
    task, mailbox = pod.task, pod.mailbox()
    party = pod.party(mailbox)
    space, handover = pod.space(party), Handover(task.uid, party.artifacts)
    check_ready(space, mailbox)
    if task.lends:
        lent(task, pod.environ)
    note_disclosed(space, mailbox, monitor)
    check_possible(space)
    source, envelope = source_of(space.spec, party), None
    if task.envelope is not None:
        reference = replace(Reference.opened_by(space.spec), digest=task.envelope)
        envelope = mailbox.incoming(space.spec.peer, reference)
        handover.begin_with(envelope.digest)
    prepare(space, source, envelope, mailbox, monitor)
    handover.give(space, monitor)


def run_publish(pod: Pod, monitor: Monitor) -> None:
    """Publish the result that was handed on: to the peer, or to where the plugged-in model goes.

    An earlier attempt may have done so, and have been killed before it could say so.

    Raises:
        BundleError: there is none.
        DisclosureError: an emulator would disclose too much.
        StorageError: a store did not give or take it.
    """
    task, mailbox = pod.task, pod.mailbox()
    party = pod.party(mailbox)
    space, handover = pod.space(party), Handover(task.uid, party.artifacts)
    if handover.has_result():
        handover.take_result(space)
        try:
            end(space, mailbox, monitor)
        except DisclosureError:
            handover.clear()  # a retry makes it anew, by what was disclosed since
            raise
    elif not has_ended(space, mailbox, monitor):
        raise BundleError(f"there is no result at {handover.uri}")
    handover.clear()
    sweep(task, party.artifacts, monitor)
