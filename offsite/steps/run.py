"""Runs the steps Open, Report and Publish of a stage in a pod."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from offsite.errors import BundleError, DisclosureError
from offsite.events import Monitor
from offsite.exchange import Reference
from offsite.steps.approvals import GivenApproval
from offsite.steps.disclosing import note_disclosed
from offsite.steps.ending import finish, resume
from offsite.steps.estimating import report_estimate
from offsite.steps.handover import Handover, sweep
from offsite.steps.inputs import source_of
from offsite.steps.lending import lent
from offsite.steps.notify import run_notify, run_read_notice
from offsite.steps.opening import prepare
from offsite.steps.pod import Pod, open_mailbox
from offsite.steps.publishing import report
from offsite.steps.ready import check_possible, check_ready
from offsite.steps.recording import recorded_publish
from offsite.task import OpenTask, PublishTask, ReportTask


def run_open(pod: Pod[OpenTask], monitor: Monitor) -> None:
    """Check the job, open the peer's envelope, and hand its content over to the work.

    Raises:
        InputError: A key is missing, or the model's target is taken.
        BundleError: The peer's bundle may not be used.
        StorageError: A store is unavailable.
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
    reference = Reference.opened_by(space.spec)
    if reference is not None and task.envelope is not None:
        reference = replace(reference, digest=task.envelope)
        envelope = mailbox.incoming(space.spec.peer, reference)
        handover.begin_with(envelope.digest)
    prepare(space, source, envelope, mailbox, monitor)
    report_estimate(space, monitor)
    handover.give(space, monitor)


def run_report(pod: Pod[ReportTask], monitor: Monitor) -> None:
    """Check the handed-over result, and report what `Publish` would send.

    Raises:
        BundleError: There is no result.
        DisclosureError: The emulator would disclose too much.
        StorageError: A store is unavailable.
    """
    mailbox = open_mailbox(pod, pod.task.envelope)
    party = pod.party(mailbox)
    space, handover = pod.space(party), Handover(pod.task.uid, party.artifacts)
    handover.take_result(space)
    with _cleared_if_refused(handover):
        report(space, mailbox, monitor)


def run_publish(pod: Pod[PublishTask], monitor: Monitor) -> None:
    """Send the handed-over result to the peer, or export the plugged-in model.

    An earlier attempt may have been killed after it published and before it reported that.

    Raises:
        BundleError: There is no result.
        DisclosureError: The emulator would disclose too much.
        StorageError: A store is unavailable.
    """
    task = pod.task
    mailbox = open_mailbox(pod, task.envelope, task.sequence)
    party = replace(pod.party(mailbox), approvals=GivenApproval(task.approved))
    space, handover = pod.space(party), Handover(task.uid, party.artifacts)
    with recorded_publish(task, party.artifacts, mailbox, monitor) as recorded:
        if handover.has_result():
            handover.take_result(space)
            with _cleared_if_refused(handover):
                finish(space, mailbox, recorded)
        elif not resume(space, mailbox, recorded):
            raise BundleError(f"there is no result at {handover.uri}")
    handover.clear()
    sweep(task.jobs, party.artifacts, task.log_days, monitor)


@contextmanager
def _cleared_if_refused(handover: Handover) -> Iterator[None]:
    """Clear a result that discloses too much: a retry makes another, for the current ledger."""
    try:
        yield
    except DisclosureError:
        handover.clear()
        raise


KEYED: Mapping[str, Callable[[Pod[Any], Monitor], None]] = {
    "Open": run_open,
    "Report": run_report,
    "Publish": run_publish,
    "Notify": run_notify,
    "ReadNotice": run_read_notice,
}
"""All steps with keys."""
