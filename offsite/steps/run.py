"""Runs the steps Open and Publish of a stage in a pod."""

from dataclasses import replace

from offsite.errors import BundleError, DisclosureError
from offsite.events import Monitor
from offsite.exchange import Reference
from offsite.steps.disclosing import note_disclosed
from offsite.steps.ending import finish, resume
from offsite.steps.handover import Handover, sweep
from offsite.steps.inputs import source_of
from offsite.steps.lending import lent
from offsite.steps.opening import prepare
from offsite.steps.pod import Pod, open_mailbox
from offsite.steps.ready import check_possible, check_ready
from offsite.task import OpenTask, PublishTask


def run_open(pod: Pod[OpenTask], monitor: Monitor) -> None:
    """Check what can be known before the work, open the peer's envelope, and hand it on.

    Raises:
        InputError: a key is missing, or something else is where the model is to go.
        BundleError: what the peer sent may not be used.
        StorageError: a store did not give or take something.
    """
    task, mailbox = pod.task, open_mailbox(pod, pod.task.envelope)
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


def run_publish(pod: Pod[PublishTask], monitor: Monitor) -> None:
    """Publish the result that was handed on: to the peer, or to where the plugged-in model goes.

    An earlier attempt may have done so, and have been killed before it could say so.

    Raises:
        BundleError: there is none.
        DisclosureError: an emulator would disclose too much.
        StorageError: a store did not give or take it.
    """
    task = pod.task
    mailbox = open_mailbox(pod, task.envelope, task.sequence)
    party = pod.party(mailbox)
    space, handover = pod.space(party), Handover(task.uid, party.artifacts)
    if handover.has_result():
        handover.take_result(space)
        try:
            finish(space, mailbox, monitor)
        except DisclosureError:
            handover.clear()  # a retry makes it anew, by what was disclosed since
            raise
    elif not resume(space, mailbox, monitor):
        raise BundleError(f"there is no result at {handover.uri}")
    handover.clear()
    sweep(task.jobs, party.artifacts, monitor)
