"""Auxiliary steps around a failed stage: notify the peer of ours, read its notice about its own.

Each is a child with keys beside those of the steps. What becomes of it decides nothing about a job.
"""

from dataclasses import replace
from datetime import timedelta

from offsite.resources import Condition
from offsite.sealing import UNDISCLOSED, Disclosure
from offsite_operator.decide.attempts import is_done
from offsite_operator.decide.decision import Decision
from offsite_operator.decide.status import wait
from offsite_operator.manifests.children import new_child
from offsite_operator.manifests.plan import plan_of
from offsite_operator.observe.model import ENDED, Child, Job, Observed, round_of

_NEWS = timedelta(hours=1)
"""Older failures are not notified, so that an upgrade or a new policy sends nothing old."""
_MOST_READ = 8
"""How many notices are opened for one job. Further ones are ignored."""


def notify_peer(seen: Observed) -> Decision | None:
    """Notify the peer of a failed job that concerns it; None: already done, or not allowed.

    A round of a job has one such child, by its name. The tries are the Job's own.
    """
    job, policy = seen.job, seen.settings.notices
    why, ended = _failure(job), job.status.completion_time
    if why is None or policy is Disclosure.NONE or ended is None or seen.now - ended > _NEWS:
        return None
    if seen.peer is None or not seen.peer.ready or seen.rejection is not None:
        return None
    bare = plan_of(seen, "Notify", round_of(seen) + 1)
    plan = replace(bare, reason=_disclosed(job, why), message=policy.of(why.message))
    return None if _child(seen, plan.name) else Decision(create=new_child(plan))


def _failure(job: Job) -> Condition | None:
    """Find why a job failed that was accepted, or whose bundle was refused; its sender can help."""
    if job.status.state != "Failed":
        return None
    why = next(each for each in job.status.conditions if each.type == "Failed")
    return why if job.has("Accepted") or why.reason == "BundleError" else None


def _disclosed(job: Job, why: Condition) -> str:
    """Get the reason for the peer. Once private data may have been read, it is always the same."""
    return UNDISCLOSED if job.status.step in ("Work", "Publish") else why.reason


def read_notice(seen: Observed, message: str, notice: str) -> Decision:
    """Wait on for a bundle that the peer says has failed, and say why as soon as that was read.

    Args:
        message: what the job waits for.
        notice: the digest of the peer's notice.
    """
    plan = replace(plan_of(seen, "ReadNotice", 1), notice=notice)
    child = _child(seen, plan.name)
    said = _said(seen, child) if child else ""
    waiting = wait(seen, "WaitingForBundle", "; ".join(filter(None, (message, said))))
    read = sum(each.step == "ReadNotice" for each in seen.children)
    if child or read >= _MOST_READ or seen.rejection is not None:
        return waiting
    return replace(waiting, create=new_child(plan))


def _child(seen: Observed, name: str) -> Child | None:
    return next((each for each in seen.children if each.name == name), None)


def _said(seen: Observed, child: Child) -> str:
    """Say what was heard; nothing, until that is known."""
    told = child.told
    over = told is not None and told.ended and child.state.phase in ENDED  # it may be tried again
    if told is None or not over:
        return ""
    if told.notice is not None and is_done(child):
        return told.notice.message
    assert seen.peer is not None, "its notice was found"
    return f"{seen.peer.alias} says that it failed, and {child.name} could not read why"
