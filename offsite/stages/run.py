"""Runs one job in this process: its three steps in order."""

from offsite.api import JobSpec, OffsiteJob
from offsite.errors import InputError
from offsite.events import Done, Monitor, Started
from offsite.exchange import Mailbox
from offsite.layers import limit_threads
from offsite.process.usage import peak_memory
from offsite.sealing import PublicRing
from offsite.stages.context import Context
from offsite.stages.work import work
from offsite.steps.disclosing import note_disclosed
from offsite.steps.ending import finish, resume
from offsite.steps.inputs import inputs_of, source_in
from offsite.steps.notify import notifying
from offsite.steps.opening import find_bundle, prepare
from offsite.steps.party import Party
from offsite.steps.ready import check_possible, check_ready
from offsite.steps.workspace import workspace
from offsite.training.checkpoints import Checkpoints


def run_job(job: OffsiteJob, party: Party, mailbox: Mailbox, monitor: Monitor) -> None:
    """Run the stage of a job, from the last checkpoint if there is one, and publish its result.

    A job whose result is published already, from the same inputs, is done at once.

    Raises:
        OffsiteError: what went wrong; nothing half-made was published. If a retry cannot help,
            the peer was notified that the stage failed.
    """
    limit_threads()
    name, spec = job.metadata.name, job.spec
    peer = _peer_of(spec, mailbox)
    inputs = inputs_of(spec, party)
    digests, envelope = inputs.digests(), find_bundle(spec, mailbox)
    if envelope:
        digests["bundle"] = envelope.digest
    with workspace(party, name, spec, peer.id, digests) as space:
        monitor.emit(Started(fingerprint=space.fingerprint, inputs=dict(digests)))
        if not resume(space, mailbox, monitor):
            # a party that cannot send its result cannot send a notice either
            check_ready(space, mailbox)
            note_disclosed(space, mailbox, monitor)
            answers = digests.get("bundle")
            with notifying(space, answers, mailbox, monitor, private=False):
                check_possible(space)
                model = inputs.model
                source = source_in(spec, model, digests["model"]) if model else None
                prepare(space, source, envelope, mailbox, monitor)
            with notifying(space, answers, mailbox, monitor, private=True):
                checkpoints = Checkpoints(space.checkpoint, party.checkpoint_seconds)
                work(Context(space, inputs, digests, checkpoints, monitor))
                finish(space, mailbox, monitor)
    monitor.emit(Done(peak_memory_bytes=peak_memory()))


def _peer_of(spec: JobSpec, mailbox: Mailbox) -> PublicRing:
    if spec.peer == mailbox.id and spec.peer not in mailbox.peers.all():
        raise InputError(f"spec.peer is {spec.peer}, which is you; name the other party")
    return mailbox.peers.get(spec.peer)
