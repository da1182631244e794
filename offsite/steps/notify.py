"""Notifies the peer that a stage failed for good, and reads its notices. Needs the keys."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from offsite.errors import NotSentError, OffsiteError
from offsite.events import Failed as FailedEvent
from offsite.events import Monitor, NoticeRead, failure
from offsite.exchange import Failed, Mailbox, Reference, send_notice
from offsite.sealing import UNDISCLOSED, Disclosure, Notice, open_notice
from offsite.steps.pod import Pod, open_mailbox
from offsite.steps.workspace import Workspace
from offsite.task import NotifyTask, ReadNoticeTask


@contextmanager
def notifying(
    space: Workspace, answers: str | None, mailbox: Mailbox, monitor: Monitor, *, private: bool
) -> Iterator[None]:
    """Tell the peer, as far as its party wants it, if the `with` block fails for good.

    Args:
        answers: the envelope that the job opens.
        private: whether the block reads private data. A peer may send a bundle that fails in
            different ways depending on that data, so it learns that the stage failed, no more.
    """
    try:
        yield
    except Exception as error:  # whatever it is: the peer waits for what does not come
        ended = failure(error)
        if private:
            passing = isinstance(error, OffsiteError) and error.retryable
            ended = replace(ended, reason=UNDISCLOSED, retryable=passing)
        if space.party.notices is not Disclosure.NONE and not ended.retryable:
            try:
                send_notice(mailbox, _failed(space, answers, ended))
            except OffsiteError as untold:
                monitor.log(f"could not notify {space.spec.peer} of the failure: {untold}")
        raise


def _failed(space: Workspace, answers: str | None, ended: FailedEvent) -> Failed:
    message = space.party.notices.of(ended.message)
    notice = Notice.of(space.spec.stage, ended.reason, message)
    return Failed(space.spec.peer, space.name, secrets.token_hex(16), notice, parent=answers)


def run_notify(pod: Pod[NotifyTask], monitor: Monitor) -> None:
    """Notify the peer that a job failed, once for each round of the job.

    Raises:
        StorageError: the exchange did not take it.
    """
    task, spec = pod.task, pod.task.job.spec
    notice = Notice.of(spec.stage, task.reason, task.message)
    name, job = task.job.metadata.name, task.uid
    failed = Failed(spec.peer, name, job, notice, round=task.round, parent=task.answers)
    if not send_notice(open_mailbox(pod), failed):
        monitor.log(f"{spec.peer} was notified before")


def run_read_notice(pod: Pod[ReadNoticeTask], monitor: Monitor) -> None:
    """Open the notice that the operator found, and report what it says.

    Raises:
        NotSentError: it is gone, or another one is there.
        BundleError: it says what no notice says.
    """
    task, spec, mailbox = pod.task, pod.task.job.spec, open_mailbox(pod)
    notice = mailbox.inbox.notice(spec.peer, Reference.opened_by(spec).name)
    if notice is None or notice.digest != task.notice:
        raise NotSentError(f"the notice {task.notice} is gone; a newer one is read by itself")
    told = open_notice(notice, mailbox.ring)
    message = told.said(notice.header)
    monitor.emit(NoticeRead(stage=told.stage, reason=told.reason, message=message))
