"""Notifies the peer of a stage that failed for good, and reads its notices. Requires the keys."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from offsite.errors import NotSentError, OffsiteError, SuspiciousEmulator
from offsite.events import Failed, Monitor, NoticeRead, failure
from offsite.exchange import FailedJob, Mailbox, Reference, send_notice
from offsite.sealing import UNDISCLOSED, Disclosure, Notice, open_notice
from offsite.steps.pod import Pod, open_mailbox
from offsite.steps.workspace import Workspace
from offsite.task import NotifyTask, ReadNoticeTask


@contextmanager
def notifying(
    space: Workspace, answers: str | None, mailbox: Mailbox, monitor: Monitor, *, private: bool
) -> Iterator[None]:
    """Notify the peer, as far as the party allows, if the `with` block fails for good.

    Args:
        answers: The envelope that the job opens.
        private: Whether the block reads private data. A peer could send a bundle that fails
            depending on that data, so it then learns only that the stage failed. A suspicious
            emulator is refused before private data is read, so its reason is disclosed.
    """
    try:
        yield
    except Exception as error:  # any error: the peer waits for a result
        ended = failure(error)
        if private and not isinstance(error, SuspiciousEmulator):
            passing = isinstance(error, OffsiteError) and error.retryable
            ended = replace(ended, reason=UNDISCLOSED, retryable=passing)
        if space.party.notices is not Disclosure.NONE and not ended.retryable:
            try:
                send_notice(mailbox, _failed(space, answers, ended))
            except OffsiteError as unsent:
                monitor.log(f"could not notify {space.spec.peer} of the failure: {unsent}")
        raise


def _failed(space: Workspace, answers: str | None, ended: Failed) -> FailedJob:
    message = space.party.notices.of(ended.message)
    notice = Notice.of(space.spec.stage, ended.reason, message)
    return FailedJob(space.spec.peer, space.name, secrets.token_hex(16), notice, parent=answers)


def run_notify(pod: Pod[NotifyTask], monitor: Monitor) -> None:
    """Notify the peer of a failed job, once for each round.

    Raises:
        StorageError: The exchange did not accept the notice.
    """
    task, spec = pod.task, pod.task.job.spec
    notice = Notice.of(spec.stage, task.reason, task.message)
    name, job = task.job.metadata.name, task.uid
    failed = FailedJob(spec.peer, name, job, notice, round=task.round, parent=task.answers)
    if not send_notice(open_mailbox(pod), failed):
        monitor.log(f"{spec.peer} was already notified")


def run_read_notice(pod: Pod[ReadNoticeTask], monitor: Monitor) -> None:
    """Open the notice that the operator found, and report its content.

    Raises:
        NotSentError: It is gone, or was replaced by another one.
        BundleError: Its content is not a valid notice.
    """
    task, spec, mailbox = pod.task, pod.task.job.spec, open_mailbox(pod)
    reference = Reference.opened_by(spec)
    notice = mailbox.inbox.notice(spec.peer, reference.name) if reference else None
    if notice is None or notice.digest != task.notice:
        raise NotSentError(
            f"the notice {task.notice} is gone; the operator reads a newer one by itself"
        )
    content = open_notice(notice, mailbox.ring)
    message = content.sentence(notice.header)
    monitor.emit(NoticeRead(stage=content.stage, reason=content.reason, message=message))
