"""Determines a job's current attempt, how it ended, and when the next one may start."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from offsite.events import Done, Failed
from offsite.resources import JobStatus, Step
from offsite_operator.observe.model import ENDED, Child, Observed, Phase, round_of

STEPS: tuple[Step, ...] = ("Open", "Work", "Report", "Publish")
"""The steps of a stage, in order. Report runs only if an approval is required."""
_FIRST_DELAY, _LONGEST_DELAY = 10.0, 300.0
_READ_WITHIN = timedelta(minutes=5)
_REASON = re.compile(
    r"[A-Z][A-Za-z0-9]{0,122}Error|InterruptedStage|ReleaseRefused|SuspiciousEmulator"
)
"""Allowed reasons from logs: error classes only, so that a log cannot forge an operator reason."""


@dataclass(frozen=True)
class Succeeded:
    """The step succeeded."""


@dataclass(frozen=True)
class Stopped:
    """A user stopped the step."""

    message: str


@dataclass(frozen=True)
class Failure:
    """The step failed."""

    reason: str
    message: str
    retryable: bool = True


Outcome = Succeeded | Stopped | Failure


def step_after(step: Step) -> Step | None:
    """Return the following step; None after the last one."""
    return next(iter(STEPS[STEPS.index(step) + 1 :]), None)


def current(seen: Observed) -> Child | None:
    """Return the newest child of this round. Only this one may be active."""
    if seen.job.spec is None:
        return None
    round_ = round_of(seen)
    own = [c for c in seen.children if c.round == round_ and c.step in STEPS]
    return max(own, key=lambda c: (c.attempt, STEPS.index(c.step)), default=None)


def has_reported(status: JobStatus) -> bool:
    """Return whether the step Report is done, and nothing of the job runs."""
    return status.step == "Report" and status.egress is not None


def is_lost(seen: Observed) -> bool:
    """Return whether the recorded child was deleted externally."""
    job = seen.job
    name = job.status.job_name
    there = any(child.name == name for child in seen.children)
    return name is not None and not there and not job.has("Suspended")


def outcome(child: Child, now: datetime) -> Outcome | None:
    """Return how a child ended; None: it still runs, or its log is not read to the end."""
    report = child.report
    if child.state.phase not in ENDED or report is None or not (report.ended or _lost(child, now)):
        return None
    if child.state.phase is Phase.STOPPED:
        return Stopped(f"the Ray job of {child.name} was stopped")
    if is_done(child):
        return Succeeded()
    if isinstance(report.last, Failed):
        return _failure(report.last)
    if report.unread:
        return Failure("LogLost", f"cannot read the log of {child.name}: {report.unread}")
    state = child.state
    if state.permanent:
        return Failure(
            "InvalidPod", f"the pod of {child.name} is not valid: {state.message}", False
        )
    if state.phase is Phase.SUCCEEDED:
        return Failure("NoResult", f"{child.name} exited without reporting a result")
    detail = state.message or f"{child.name} failed without reporting a reason"
    return Failure(_reason(state.reason), detail)


def is_done(child: Child) -> bool:
    """Return whether a child both reported success and exited with success. Both are required."""
    last = child.report.last if child.report else None
    return child.state.phase is Phase.SUCCEEDED and isinstance(last, Done)


def _lost(child: Child, now: datetime) -> bool:
    """Return whether to give up on an unreadable log. Until then its node may come back."""
    unread = child.report is not None and bool(child.report.unread)
    return unread and now - (child.state.ended or child.created) >= _READ_WITHIN


def _failure(event: Failed) -> Failure:
    return Failure(_reason(event.reason), event.message, event.retryable)


def _reason(text: str) -> str:
    """Convert the reason in a log, which is untrusted text, to a condition reason."""
    return text if _REASON.fullmatch(text) else "StepFailed"


def failures(seen: Observed, step: Step, attempt: int) -> int:
    """Count the attempts at a step in this round, including this one."""
    round_, status = round_of(seen), seen.job.status
    tried = [c.attempt for c in seen.children if c.round == round_ and c.step == step]
    if status.step == step and status.first_attempt is not None:  # earlier children may be deleted
        tried.append(status.first_attempt)
    return attempt - min((*tried, attempt)) + 1


def next_attempt_at(failed: int, ended: datetime) -> datetime:
    """Compute the time of the next attempt: exponential back-off from 10 s to five minutes."""
    delay = min(_FIRST_DELAY * 2.0 ** min(failed - 1, 16), _LONGEST_DELAY)
    return ended + timedelta(seconds=delay)
