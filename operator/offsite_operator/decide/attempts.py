"""Which attempt a job is at, how it ended, and when the next one may begin."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from offsite.events import Done, Failed
from offsite.resources import Step
from offsite_operator.observe.model import ENDED, Child, Observed, Phase, round_of

STEPS: tuple[Step, ...] = ("Open", "Work", "Publish")
"""Of every stage."""
_FIRST_DELAY, _LONGEST_DELAY = 10.0, 300.0
_READ_WITHIN = timedelta(minutes=5)
_REASON = re.compile(r"[A-Z][A-Za-z0-9]{0,122}Error|InterruptedStage")
"""The classes of errors: what a log says is never taken for a reason of the operator's own."""


@dataclass(frozen=True)
class Succeeded:
    """The step is done."""


@dataclass(frozen=True)
class Stopped:
    """Somebody stopped it, on purpose."""

    message: str


@dataclass(frozen=True)
class Failure:
    """The step is not done."""

    reason: str
    message: str
    retryable: bool = True


Outcome = Succeeded | Stopped | Failure


def step_after(step: Step) -> Step | None:
    """Find the step that follows; None: it was the last one."""
    return next(iter(STEPS[STEPS.index(step) + 1 :]), None)


def current(seen: Observed) -> Child | None:
    """Find the newest child of this round: at most this one may be active."""
    if seen.job.spec is None:
        return None
    round_ = round_of(seen)
    own = [c for c in seen.children if c.round == round_ and c.step in STEPS]
    return max(own, key=lambda c: (c.attempt, STEPS.index(c.step)), default=None)


def is_lost(seen: Observed) -> bool:
    """Whether the child that ran is gone although nobody here deleted it."""
    job = seen.job
    name = job.status.job_name
    there = any(child.name == name for child in seen.children)
    return name is not None and not there and not job.has("Suspended")


def outcome(child: Child, now: datetime) -> Outcome | None:
    """Say how a child ended; None: it has not, or its log was not read to the end yet."""
    told = child.told
    if child.state.phase not in ENDED or told is None or not (told.ended or _lost(child, now)):
        return None
    if child.state.phase is Phase.STOPPED:
        return Stopped(f"the Ray job of {child.name} was stopped")
    if is_done(child):
        return Succeeded()
    if isinstance(told.last, Failed):
        return _failure(told.last)
    if told.unread:
        return Failure("LogLost", f"the log of {child.name} cannot be read: {told.unread}")
    state = child.state
    if state.permanent:
        return Failure("InvalidPod", f"{child.name} is not valid: {state.message}", False)
    if state.phase is Phase.SUCCEEDED:
        return Failure("NoResult", f"{child.name} exited without reporting a result")
    said = state.message or f"{child.name} failed without reporting a reason"
    return Failure(_reason(state.reason), said)


def is_done(child: Child) -> bool:
    """Whether a child says that it is done, and has ended well: either alone proves nothing."""
    last = child.told.last if child.told else None
    return child.state.phase is Phase.SUCCEEDED and isinstance(last, Done)


def _lost(child: Child, now: datetime) -> bool:
    """Whether a log is taken as read to its end because it cannot be: its node may come back."""
    unread = child.told is not None and bool(child.told.unread)
    return unread and now - (child.state.ended or child.created) >= _READ_WITHIN


def _failure(event: Failed) -> Failure:
    return Failure(_reason(event.reason), event.message, event.retryable)


def _reason(text: str) -> str:
    """Make a condition's reason of what a log says, which may be anything."""
    return text if _REASON.fullmatch(text) else "StepFailed"


def failures(seen: Observed, step: Step, attempt: int) -> int:
    """Count the attempts at a step in this round, this one included."""
    round_, status = round_of(seen), seen.job.status
    tried = [c.attempt for c in seen.children if c.round == round_ and c.step == step]
    if status.step == step and status.first_attempt is not None:  # children may be gone
        tried.append(status.first_attempt)
    return attempt - min((*tried, attempt)) + 1


def next_attempt_at(failed: int, ended: datetime) -> datetime:
    """Say when to try again: after 10 s, then twice as long each time, five minutes at most."""
    delay = min(_FIRST_DELAY * 2.0 ** min(failed - 1, 16), _LONGEST_DELAY)
    return ended + timedelta(seconds=delay)
