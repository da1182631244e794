"""Decides what to do about a job, as a pure function of its observed state.

Level-triggered: the same state gives the same decision, regardless of the events in between. Every
action is idempotent.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from offsite.api import JobSpec
from offsite.resources import ArtifactStatus, Step
from offsite_operator.decide.adoption import adopt_newest
from offsite_operator.decide.approval import await_approval
from offsite_operator.decide.attempts import (
    STEPS,
    Failure,
    Stopped,
    Succeeded,
    current,
    failures,
    has_reported,
    is_lost,
    next_attempt_at,
    outcome,
    step_after,
)
from offsite_operator.decide.decision import Decision
from offsite_operator.decide.finished import settle
from offsite_operator.decide.memory import with_estimate
from offsite_operator.decide.reported import reported_updates
from offsite_operator.decide.start import begin
from offsite_operator.decide.status import (
    ConditionUpdate,
    changed,
    finish,
    held_up,
    hold,
    wait,
)
from offsite_operator.observe.model import ENDED, Child, Observed, Phase

_DOING = dict(zip(STEPS, ("Opening", "Training", "Reporting", "Publishing"), strict=True))
_LOOK_AGAIN = 15.0
"""Interval of the checks of a child that has not started."""
_READ_AGAIN = 4.0
"""Interval of the reads of a running child's log."""


def reconcile(seen: Observed) -> Decision:
    """Decide what to do about a job now."""
    job = seen.job
    if job.deleting:
        # the garbage collector waits for finalizers, which may never be removed
        return Decision(delete=tuple(child for child in seen.children if child.active))
    if job.finished:
        return settle(seen)
    if job.spec is None:
        return wait(seen, "InvalidSpec", job.problem)
    before, seen = seen, adopt_newest(seen, job.spec)
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
        return _at(seen, spec, child)
    if spec.cancel:
        return finish(seen, "Cancelled", "Cancelled", "spec.cancel was set")
    if deadline is not None and seen.now >= deadline:
        detail = f"the job was not complete within {_limit(seen, spec)}"
        return finish(seen, "Failed", "DeadlineExceeded", detail)
    if spec.suspend:
        return _suspend(seen, child)
    reported = has_reported(seen.job.status)
    if (waiting := held_up(seen, "AwaitingApproval" if reported else "Pending")) is not None:
        return waiting
    return _waiting_to_send(seen, spec) if reported else _next(seen, spec, child)


def _waiting_to_send(seen: Observed, spec: JobSpec) -> Decision:
    attempt = seen.job.status.attempts or 1
    return await_approval(seen) or begin(seen, spec, "Publish", attempt, {})


def _next(seen: Observed, spec: JobSpec, child: Child | None) -> Decision:
    if is_lost(seen):
        return _lost(seen, spec)
    if child is None:
        return begin(seen, spec, *_first(seen), {})
    return _at(seen, spec, child)


def _is_published(seen: Observed, child: Child) -> bool:
    """Return whether the last step has succeeded. A deadline or cancellation is then too late."""
    last = step_after(child.step) is None and child.state.phase is Phase.SUCCEEDED
    return last and not isinstance(outcome(child, seen.now), Failure)


def _deadline(seen: Observed, spec: JobSpec) -> datetime | None:
    began, child = seen.job.status.start_time, current(seen)
    seconds = seen.settings.bounds.deadline_of(spec)
    if child is not None and child.state.phase is Phase.QUEUED:
        return None  # its clock is paused, as for a suspended Job
    return began + timedelta(seconds=seconds) if began and seconds is not None else None


def _limit(seen: Observed, spec: JobSpec) -> str:
    """Name the setting that limited a job, with its value."""
    seconds = seen.settings.bounds.deadline_of(spec)
    by_author = seconds == spec.active_deadline_seconds
    field = "spec.activeDeadlineSeconds" if by_author else "bounds.maxActiveDeadlineSeconds"
    return f"{field}: {seconds}"


def _awake(decision: Decision, deadline: datetime | None, now: datetime) -> Decision:
    """Reconcile again at the deadline at the latest."""
    if deadline is None or now >= deadline:
        return decision
    left = (deadline - now).total_seconds()
    return replace(decision, again=left if decision.again is None else min(left, decision.again))


def _suspend(seen: Observed, child: Child | None) -> Decision:
    """Stop the running child. This does not count as an attempt, and resets the clock."""
    stopping = child is not None and child.state.phase not in ENDED
    detail = f"{child.name} is being stopped" if stopping and child is not None else ""
    suspended = ConditionUpdate("True", "Suspended", detail)
    status = changed(
        seen,
        "Suspended",
        {"Suspended": suspended, "Running": ConditionUpdate("False", "Suspended")},
        start_time=None,
    )
    return Decision(status=status, delete=tuple(c for c in seen.children if c.active))


def _first(seen: Observed) -> tuple[Step, int]:
    """Return the step and attempt with which a round starts or resumes."""
    status = seen.job.status
    attempts = status.attempts or 0
    return status.step or STEPS[0], attempts if status.job_name else attempts + 1


def _lost(seen: Observed, spec: JobSpec) -> Decision:
    status, (step, attempt) = seen.job.status, _first(seen)
    kind = status.engine if step == "Work" else "Job"
    failure = Failure(f"{kind}Lost", f"{status.job_name} was deleted, but not by the operator")
    # the time of the deletion is unknown, so the first reconcile that notices it records its own
    gone = status.lost_time or seen.now
    return _failed(seen, spec, _Tried(step, attempt or 1, gone), failure, lost_time=gone)


def _at(seen: Observed, spec: JobSpec, child: Child) -> Decision:
    """Continue from the newest child."""
    report = reported_updates(seen.job.status, child)
    match outcome(child, seen.now):
        case None:
            return _under_way(seen, child)
        case Stopped(message):
            return finish(seen, "Cancelled", "Cancelled", message, **report)
        case Failure() as failure:
            ended = child.state.ended or child.created
            tried = _Tried(child.step, child.attempt, ended)
            return _failed(seen, spec, tried, failure, **report)
        case Succeeded() if child.step == "Open" and (warned := with_estimate(seen, spec, child)):
            return Decision(status=warned, again=0)
        case Succeeded() if child.step == "Report":
            return _reported(seen, child, report)
        case Succeeded():
            following = step_after(child.step)
            if following is not None:
                return begin(seen, spec, following, child.attempt, report)
            detail = _published(report.get("artifact"))
            # a completed job needs no retry, even if one was requested meanwhile
            return finish(seen, "Complete", "Published", detail, **report, retries=spec.retries)


def _reported(seen: Observed, child: Child, updates: Mapping[str, Any]) -> Decision:
    """Record what Report reported. From here on, neither its pod nor its log matters."""
    if updates.get("egress") is None:
        failure = Failure("NoResult", f"{child.name} reported nothing that would be sent", False)
        return finish(seen, "Failed", failure.reason, failure.message)
    # a suspension may have deleted the pod of the step after it, which the status then still names
    status = seen.job.status.model_copy(update={**updates, "step": child.step})
    known = replace(seen, job=replace(seen.job, status=status))
    return await_approval(known) or Decision(status=status, again=0)


def _published(artifact: ArtifactStatus | None) -> str:
    return f"{artifact.name} is at {artifact.uri}" if artifact is not None else ""


def _under_way(seen: Observed, child: Child) -> Decision:
    phase, found = child.state.phase, child.startup_problem
    if phase is Phase.QUEUED:
        conditions = ConditionUpdate(
            "False", "WaitingForPod", f"{child.name} is suspended, for example by Kueue"
        )
        return Decision(status=changed(seen, "Queued", {"Running": conditions}, start_time=None))
    if phase is not Phase.PENDING:
        unread = child.report.unread if child.report else ""
        detail = f"; it has ended, but its log is not readable: {unread}" if unread else ""
        conditions = ConditionUpdate(
            "True", _DOING[child.step], f"{child.kind} {child.name}{detail}"
        )
        report = reported_updates(seen.job.status, child)
        status = changed(seen, "Running", {"Running": conditions}, **report)
        return Decision(status=status, again=_READ_AGAIN)
    if found is not None and found.fatal:
        return finish(seen, "Failed", found.reason, found.message)
    message = found.message if found else child.state.message
    return hold(seen, "WaitingForPod", message or f"{child.name} is starting", _LOOK_AGAIN)


class _Tried(NamedTuple):
    step: Step
    attempt: int
    ended: datetime


def _failed(
    seen: Observed, spec: JobSpec, tried: _Tried, failure: Failure, **updates: Any
) -> Decision:
    """Retry now, retry later, or give up.

    Args:
        updates: Updates of the status.
    """
    if not failure.retryable:
        return finish(seen, "Failed", failure.reason, failure.message, **updates)
    failed = failures(seen, tried.step, tried.attempt)
    detail = f"{failure.reason}: {failure.message}"
    if failed > spec.backoff_limit:
        limit = f"spec.backoffLimit: {spec.backoff_limit}"
        message = f"{tried.step} failed {failed} times ({limit}); {detail}"
        return finish(seen, "Failed", "BackoffLimitExceeded", message, **updates)
    due = next_attempt_at(failed, tried.ended)
    if due <= seen.now:
        return begin(seen, spec, tried.step, tried.attempt + 1, updates)
    message = (
        f"attempt {tried.attempt} failed ({detail}); the next one starts at {due:%H:%M:%S} UTC"
    )
    return hold(seen, "BackOff", message, (due - seen.now).total_seconds(), **updates)
