"""The pod of a step: its task, and the files and stores that the operator provides."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from offsite.errors import InputError
from offsite.exchange import Mailbox
from offsite.exchange.home import passphrase_of
from offsite.mounts import CLAIMS, RING
from offsite.sealing import load_ring
from offsite.sealing.peers import Peers
from offsite.steps.party import Party
from offsite.steps.pinned import PinnedLedger
from offsite.steps.workspace import Workspace
from offsite.store import ObjectStore, make_folders
from offsite.store.artifact_store import artifact_store_of
from offsite.store.open import open_store
from offsite.store.private_store import PrivateStore
from offsite.task import KEPT, BaseTask, KeyedTask

OfStep = TypeVar("OfStep", bound=BaseTask, covariant=True)


@dataclass(frozen=True)
class Pod(Generic[OfStep]):
    """A task, and the location of its files; by default the operator's mount points."""

    task: OfStep
    environ: Mapping[str, str]

    @property
    def scratch(self) -> Path:
        """The writable folder of the pod, deleted with it."""
        return Path(self.environ.get("OFFSITE_SCRATCH", "/tmp/offsite"))

    def at(self, scratch: Path) -> "Pod[OfStep]":
        """Return a copy with another scratch folder."""
        make_folders(scratch)
        return Pod(self.task, {**self.environ, "OFFSITE_SCRATCH": str(scratch)})

    def party(self, mailbox: Mailbox | None = None) -> Party:
        """Describe the party that the pod belongs to."""
        private_store = self.private_store(mailbox.store if mailbox else None)
        return Party(
            id=self.task.party,
            home=self.scratch,
            private_store=private_store,
            artifacts=artifact_store_of(self.task.private, private_store),
            claims=Path(self.environ.get("OFFSITE_CLAIMS", CLAIMS)),
            limits=self.task.limits,
        )

    def private_store(self, exchange: ObjectStore | None) -> PrivateStore:
        """Return the private store, which must not overlap the exchange."""
        # other processes that send get a copy of it
        return PrivateStore(self.scratch / "copies", exchange, dict(self.environ))

    def space(self, party: Party) -> Workspace:
        """Create the workspace. The job's uid stands for everything that affects its result."""
        task, folder = self.task, self.scratch / "work"
        make_folders(folder)
        name, spec = task.job.metadata.name, task.job.spec
        return Workspace(party, name, spec, task.peer_id, task.uid, folder, uid=task.uid)


def open_mailbox(
    pod: Pod[KeyedTask], envelope: str | None = None, sequence: int | None = None
) -> Mailbox:
    """Open the exchange.

    Args:
        envelope: The only envelope that may be opened.
        sequence: The only sequence that may be used to send.

    Raises:
        InputError: The keys belong to another party, or the peer's public file to another peer.
    """
    task, alias = pod.task, pod.task.job.spec.peer
    keys = Path(pod.environ.get("OFFSITE_RING", RING))
    ring, peers = load_ring(keys, passphrase_of(pod.environ)), Peers(pod.scratch / "peers")
    peer = peers.add(task.public.encode(), f"OffsitePeer {alias}", alias)
    for found, wanted, what in (
        (ring.id, task.party, "the identity"),
        (peer.id, task.peer_id, f"the OffsitePeer {alias}"),
    ):
        if found != wanted:
            raise InputError(f"{what} has the keys of {found} instead of {wanted}")
    store = open_store(task.exchange, "OFFSITE_EXCHANGE", pod.environ)
    ledger = PinnedLedger(envelope, sequence)
    # journals outlive this pod
    kept = "/".join((task.private.rstrip("/"), KEPT, task.uid, "journals"))
    journals = artifact_store_of(kept, pod.private_store(store))
    return Mailbox(ring, peers, store, ledger, pod.scratch / "pulls", journals, alone=False)
