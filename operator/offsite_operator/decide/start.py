"""Starts an attempt at a step: creates its child once all prerequisites are met."""

from typing import Any

from offsite.api import JobSpec
from offsite.resources import Step
from offsite_operator.decide.admission import admit, allotting
from offsite_operator.decide.adoption import entries, starting
from offsite_operator.decide.approval import gated
from offsite_operator.decide.decision import Decision
from offsite_operator.decide.reported import with_report
from offsite_operator.decide.status import changed, finish, hold
from offsite_operator.decide.turns import turn
from offsite_operator.manifests.children import new_child
from offsite_operator.manifests.plan import plan_of
from offsite_operator.observe.model import Engine, Observed, Peer
from offsite_operator.observe.quota import exceeded, remedy_for

_POLICY = "ValidatingAdmissionPolicy 'offsite-operator"
"""Prefix of rejections by a policy of the chart `offsite-crds`, which the administrator has to fix.
"""
_REFUSALS = (
    (
        "cannot create resource",
        "; the operator's Role lacks this permission: upgrade the chart",
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


def begin(
    seen: Observed, spec: JobSpec, step: Step, attempt: int, report: dict[str, Any]
) -> Decision:
    """Create the child of an attempt at a step, or report what blocks it.

    Args:
        report: Status updates from the previous attempt.
    """
    step = gated(seen, step)
    admitted = admit(seen, spec)
    if isinstance(admitted, Decision):
        return with_report(admitted, seen.job.status, report)
    if (blocked := turn(seen) or _rejected(seen)) is not None:
        return with_report(blocked, seen.job.status, report)
    if step == "Publish" and spec.stage != "PlugIn" and seen.job.status.sequence is None:
        return _allot(seen, admitted, report)
    plan = plan_of(seen, spec, admitted, step, attempt, _engine(seen, spec, step))
    updates = {**report, **entries(seen.job.status, plan, seen.now)}
    status = changed(seen, "Pending", starting(seen, plan.name), **updates)
    return Decision(create=new_child(plan), status=status)


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


def _allot(seen: Observed, peer: Peer, report: dict[str, Any]) -> Decision:
    """Record a sequence in the ledger before a child may use it."""
    ledger, sequence = allotting(peer.status, seen.job.name, seen.job.uid)
    status = changed(seen, "Pending", {}, sequence=sequence, **report)
    return Decision(ledger=ledger, status=status, again=0)


def _engine(seen: Observed, spec: JobSpec, step: Step) -> Engine:
    wanted = spec.runtime.engine
    if step != "Work" or wanted == "Job" or not seen.ray:
        return "Job"
    return "RayJob"
