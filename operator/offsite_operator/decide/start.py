"""Starts an attempt at a step: creates its child once all prerequisites are met."""

from typing import Any

from offsite.resources import Step
from offsite_operator.decide.admission import allotting, objection
from offsite_operator.decide.adoption import entries, starting
from offsite_operator.decide.decision import Decision
from offsite_operator.decide.status import changed, finish, hold, with_report
from offsite_operator.decide.turns import turn
from offsite_operator.manifests.children import new_child
from offsite_operator.manifests.plan import plan_of
from offsite_operator.observe.model import Engine, Observed
from offsite_operator.observe.quota import exceeded, remedy_for

_POLICY = "ValidatingAdmissionPolicy 'offsite-operator"
"""Prefix of rejections by a policy of the chart `offsite-crds`, which the administrator has to fix.
"""
_REFUSALS = (
    (
        "cannot create resource",
        "; the operator's Role lacks this permission: upgrade the release of the chart",
    ),
    (
        _POLICY,
        "; the charts offsite-crds and offsite must have the same version: upgrade both",
    ),
    ("webhook", "; ask the cluster's administrator about this webhook"),
)
"""Fragments of the API server's rejections of a child, and the remedy."""
_ASK_AGAIN = 15.0
"""Delay before the next attempt to create a rejected child."""


def begin(seen: Observed, step: Step, attempt: int, report: dict[str, Any]) -> Decision:
    """Create the child of an attempt at a step, or report what blocks it.

    Args:
        report: Status updates from the previous attempt.
    """
    objected = objection(seen) or turn(seen) or _rejected(seen)
    if objected is not None:
        return with_report(objected, seen.job.status, report)
    if step == "Publish" and _sends(seen) and seen.job.status.sequence is None:
        return _allot(seen, report)
    plan = plan_of(seen, step, attempt, _engine(seen, step))
    updates = {**report, **entries(seen.job.status, plan, seen.now)}
    status = changed(seen, "Pending", starting(seen, plan.name), **updates)
    return Decision(create=new_child(plan), status=status)


def _sends(seen: Observed) -> bool:
    return seen.job.spec is not None and seen.job.spec.stage != "PlugIn"


def _rejected(seen: Observed) -> Decision | None:
    """Report why the API server rejected the child; None: it did not."""
    if seen.rejection is None:
        return None
    code, message = seen.rejection.code, seen.rejection.message
    if code in (400, 422) and _POLICY not in message:
        return finish(seen, "Failed", "InvalidPod", f"the API server rejected the pod: {message}")
    if code == 409:
        return hold(seen, "NameTaken", message)
    quota = "exceeded quota" in message
    report = exceeded(message, 1) if quota else f"{message}{remedy_for(message, _REFUSALS)}"
    detail = f"the API server rejected the child; retrying: {report}"
    return hold(seen, "WaitingForPod", detail, _ASK_AGAIN)


def _allot(seen: Observed, report: dict[str, Any]) -> Decision:
    """Record a sequence in the ledger before a child may use it."""
    assert seen.peer is not None, "there was no objection"
    ledger, sequence = allotting(seen.peer.status, seen.job.name, seen.job.uid)
    status = changed(seen, "Pending", {}, sequence=sequence, **report)
    return Decision(ledger=ledger, status=status, again=0)


def _engine(seen: Observed, step: Step) -> Engine:
    assert seen.job.spec is not None, "there was no objection"
    wanted = seen.job.spec.runtime.engine
    if step != "Work" or wanted == "Job" or not seen.ray:
        return "Job"
    return "RayJob"
