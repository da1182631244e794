"""Auxiliary steps after a failed stage: notify the peer, or read the peer's notice.

Each is a child that holds keys. Its outcome decides nothing about the job.
"""

from dataclasses import replace
from datetime import timedelta

from offsite.api import JobSpec
from offsite.resources import Condition
from offsite.sealing import SUSPICIOUS, UNDISCLOSED, Disclosure
from offsite_operator.decide.attempts import is_done
from offsite_operator.decide.decision import Decision
from offsite_operator.decide.status import wait
from offsite_operator.manifests.children import new_child
from offsite_operator.manifests.plan import plan_of
from offsite_operator.observe.model import ENDED, Child, Job, Observed, Peer, round_of

_NEWS = timedelta(hours=1)
"""Older failures are not notified, so that an upgrade or a changed policy sends no old notices."""
_MOST_READ = 8
"""Limit on the notices read for one job; further ones are ignored."""


def notify_peer(seen: Observed, spec: JobSpec) -> Decision | None:
    """Notify the peer of a failed job; None: already done, not the peer's concern, or not allowed.

    Each round has one such child, identified by its name. Its Job does the retries.
    """
    job, policy = seen.job, seen.settings.notices
    why, ended = _failure(job), job.status.completion_time
    if why is None or policy is Disclosure.NONE or ended is None or seen.now - ended > _NEWS:
        return None
    if seen.peer is None or not seen.peer.ready or seen.rejection is not None:
        return None
    bare = plan_of(seen, spec, seen.peer, "Notify", round_of(seen) + 1)
    plan = replace(bare, reason=_disclosed(job, why), message=policy.of(why.message))
    return None if _child(seen, plan.name) else Decision(create=new_child(plan))


def _failure(job: Job) -> Condition | None:
    """Return why a job failed, if the peer can help: the job was accepted, or its bundle was
    refused.
    """
    if job.status.state != "Failed":
        return None
    why = next(each for each in job.status.conditions if each.type == "Failed")
    return why if job.has("Accepted") or why.reason == "BundleError" else None


def _disclosed(job: Job, why: Condition) -> str:
    """Return the reason to disclose: a constant one as soon as private data may have been read.

    `Work` inspects an emulator before private data meets it.
    """
    if job.status.step == "Work" and why.reason == SUSPICIOUS:
        return SUSPICIOUS
    return UNDISCLOSED if job.status.step in ("Work", "Report", "Publish") else why.reason


def read_notice(seen: Observed, spec: JobSpec, peer: Peer, message: str, notice: str) -> Decision:
    """Keep waiting for a bundle whose sender reported a failure, and read the notice for the
    reason.

    Args:
        message: What the job waits for.
        notice: Digest of the peer's notice.
    """
    plan = replace(plan_of(seen, spec, peer, "ReadNotice", 1), notice=notice)
    child = _child(seen, plan.name)
    reason = _peer_message(peer, child) if child else ""
    waiting = wait(seen, "WaitingForBundle", "; ".join(filter(None, (message, reason))))
    read = sum(each.step == "ReadNotice" for each in seen.children)
    if child or read >= _MOST_READ or seen.rejection is not None:
        return waiting
    return replace(waiting, create=new_child(plan))


def _child(seen: Observed, name: str) -> Child | None:
    return next((each for each in seen.children if each.name == name), None)


def _peer_message(peer: Peer, child: Child) -> str:
    """Return the peer's message, or empty until the notice is read."""
    report = child.report
    over = report is not None and report.ended and child.state.phase in ENDED  # its Job may retry
    if report is None or not over:
        return ""
    if report.notice is not None and is_done(child):
        return report.notice.message
    return f"{peer.alias} reported a failure, and {child.name} could not read the reason"
