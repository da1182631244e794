"""What to do about a job, as a pure function of what was observed.

Levels, not edges: however often it is called, and whatever happened in between, from the same
things it draws the same conclusion. What it asks for may be done twice without harm.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from offsite.api import JobSpec
from offsite.resources import Artifact, Step
from offsite_operator.decide.adoption import caught_up
from offsite_operator.decide.attempts import (
    STEPS,
    Failure,
    Stopped,
    Succeeded,
    current,
    failures,
    is_lost,
    next_attempt_at,
    outcome,
    step_after,
)
from offsite_operator.decide.decision import Decision
from offsite_operator.decide.finished import settle
from offsite_operator.decide.start import begin
from offsite_operator.decide.status import (
    ConditionUpdate,
    changed,
    finish,
    heard_from,
    held_up,
    hold,
    wait,
)
from offsite_operator.observe.model import ENDED, Child, Observed, Phase

_DOING: dict[Step, str] = {"Open": "Opening", "Work": "Training", "Publish": "Publishing"}
_LOOK_AGAIN = 15.0
"""Seconds until a child that does not start is looked at again."""
_READ_AGAIN = 4.0
"""Seconds until the log of a child is read on."""


def reconcile(seen: Observed) -> Decision:
    """Decide what to do about a job now."""
    job = seen.job
    if job.deleting:
        # the garbage collector waits until the last finalizer is gone, and that may be never
        return Decision(delete=tuple(child for child in seen.children if child.active))
    if job.finished:
        return settle(seen)
    if job.spec is None:
        return wait(seen, "InvalidSpec", job.problem)
    before, seen = seen, caught_up(seen, job.spec)
    decision, newest = _unfinished(seen, job.spec), current(seen)
    if decision.status is None and seen is not before:
        decision = replace(decision, status=seen.job.status)
    old = (c for c in seen.children if c.active and c != newest and c.step in STEPS)
    strays = (child for child in old if child not in decision.delete)
    decision = replace(decision, delete=(*decision.delete, *strays))
    return _awake(decision, _deadline(seen, job.spec), seen.now)


def _unfinished(seen: Observed, spec: JobSpec) -> Decision:
    deadline, child = _deadline(seen, spec), current(seen)
    if child is not None and _is_published(seen, child):
        return _at(seen, child, spec.retries)
    if spec.cancel:
        return finish(seen, "Cancelled", "Cancelled", "spec.cancel was set")
    if deadline is not None and seen.now >= deadline:
        said = f"it was not done after {_limit(seen, spec)}"
        return finish(seen, "Failed", "DeadlineExceeded", said)
    if spec.suspend:
        return _suspend(seen, child)
    if (waiting := held_up(seen, "Pending")) is not None:
        return waiting
    if is_lost(seen):
        return _lost(seen)
    if child is None:
        return begin(seen, *_first(seen), {})
    return _at(seen, child, spec.retries)


def _is_published(seen: Observed, child: Child) -> bool:
    """Whether the last step has succeeded, so that a deadline or a cancellation comes too late."""
    last = step_after(child.step) is None and child.state.phase is Phase.SUCCEEDED
    return last and not isinstance(outcome(child, seen.now), Failure)


def _deadline(seen: Observed, spec: JobSpec) -> datetime | None:
    began, child = seen.job.status.start_time, current(seen)
    seconds = seen.settings.bounds.deadline_of(spec)
    if child is not None and child.state.phase is Phase.QUEUED:
        return None  # its clock stands, as that of a Job of Kubernetes that is suspended
    return began + timedelta(seconds=seconds) if began and seconds is not None else None


def _limit(seen: Observed, spec: JobSpec) -> str:
    """Name the deadline that ended a job, as its author or the administrator wrote it."""
    seconds = seen.settings.bounds.deadline_of(spec)
    by_author = seconds == spec.active_deadline_seconds
    field = "spec.activeDeadlineSeconds" if by_author else "bounds.maxActiveDeadlineSeconds"
    return f"{field}: {seconds}"


def _awake(decision: Decision, deadline: datetime | None, now: datetime) -> Decision:
    """See that a deadline is not slept through."""
    if deadline is None or now >= deadline:
        return decision
    left = (deadline - now).total_seconds()
    return replace(decision, again=left if decision.again is None else min(left, decision.again))


def _suspend(seen: Observed, child: Child | None) -> Decision:
    """Stop what runs. That is no attempt, and its time does not count."""
    stopping = child is not None and child.state.phase not in ENDED
    said = f"{child.name} is being stopped" if stopping and child is not None else ""
    suspended = ConditionUpdate("True", "Suspended", said)
    status = changed(
        seen,
        "Suspended",
        {"Suspended": suspended, "Running": ConditionUpdate("False", "Suspended")},
        start_time=None,
    )
    return Decision(status=status, delete=tuple(c for c in seen.children if c.active))


def _first(seen: Observed) -> tuple[Step, int]:
    """Say where a round begins, or goes on when a suspension took away its only child."""
    status = seen.job.status
    attempts = status.attempts or 0
    return status.step or STEPS[0], attempts if status.job_name else attempts + 1


def _lost(seen: Observed) -> Decision:
    status = seen.job.status
    assert status.step is not None, "it was written when the child was made"
    kind = status.engine if status.step == "Work" else "Job"
    failure = Failure(f"{kind}Lost", f"{status.job_name} is gone, and it was not the operator")
    # when it went nobody knows; it is remembered when that was seen
    gone = status.lost_time or seen.now
    return _failed(seen, _Tried(status.step, status.attempts or 1, gone), failure, lost_time=gone)


def _at(seen: Observed, child: Child, retries: int) -> Decision:
    """Go on from the newest child."""
    told = heard_from(seen.job.status, child)
    match outcome(child, seen.now):
        case None:
            return _under_way(seen, child)
        case Stopped(message):
            return finish(seen, "Cancelled", "Cancelled", message, **told)
        case Failure() as failure:
            ended = child.state.ended or child.created
            return _failed(seen, _Tried(child.step, child.attempt, ended), failure, **told)
        case Succeeded():
            following = step_after(child.step)
            if following is not None:
                return begin(seen, following, child.attempt, told)
            said = _published(told.get("artifact"))
            # a retry that was asked for while it was not known whether it is needed is not
            return finish(seen, "Complete", "Published", said, **told, retries=retries)


def _published(artifact: Artifact | None) -> str:
    return f"{artifact.name} is at {artifact.uri}" if artifact is not None else ""


def _under_way(seen: Observed, child: Child) -> Decision:
    phase, found = child.state.phase, child.trouble
    if phase is Phase.QUEUED:
        says = ConditionUpdate(
            "False", "WaitingForPod", f"{child.name} is suspended, as by a queue of Kueue"
        )
        return Decision(status=changed(seen, "Queued", {"Running": says}, start_time=None))
    if phase is not Phase.PENDING:
        unread = child.told.unread if child.told else ""
        said = f"; it has ended, and its log cannot be read: {unread}" if unread else ""
        says = ConditionUpdate("True", _DOING[child.step], f"{child.kind} {child.name}{said}")
        told = heard_from(seen.job.status, child)
        status = changed(seen, "Running", {"Running": says}, **told)
        return Decision(status=status, again=_READ_AGAIN)
    if found is not None and found.fatal:
        return finish(seen, "Failed", found.reason, found.message)
    message = found.message if found else child.state.message
    return hold(seen, "WaitingForPod", message or f"{child.name} is starting", _LOOK_AGAIN)


class _Tried(NamedTuple):
    step: Step
    attempt: int
    ended: datetime


def _failed(seen: Observed, tried: _Tried, failure: Failure, **updates: Any) -> Decision:
    """Try again, now or later, or give up.

    Args:
        updates: of the status.
    """
    spec, failed = seen.job.spec, failures(seen, tried.step, tried.attempt)
    assert spec is not None, "it was tried"
    if not failure.retryable:
        return finish(seen, "Failed", failure.reason, failure.message, **updates)
    said = f"{failure.reason}: {failure.message}"
    if failed > spec.backoff_limit:
        limit = f"spec.backoffLimit: {spec.backoff_limit}"
        message = f"{tried.step} failed {failed} times ({limit}); {said}"
        return finish(seen, "Failed", "BackoffLimitExceeded", message, **updates)
    due = next_attempt_at(failed, tried.ended)
    if due <= seen.now:
        return begin(seen, tried.step, tried.attempt + 1, updates)
    message = f"attempt {tried.attempt} failed ({said}); the next one begins at {due:%H:%M:%S} UTC"
    return hold(seen, "BackOff", message, (due - seen.now).total_seconds(), **updates)
