"""Starts an attempt at a step: creates its child once everything that it needs is there."""

from typing import Any

from offsite.resources import Step
from offsite_operator.decide.admission import allotting, objection
from offsite_operator.decide.adoption import entries, starting
from offsite_operator.decide.decision import Decision
from offsite_operator.decide.status import changed, finish, hold, with_told
from offsite_operator.decide.turns import turn
from offsite_operator.manifests.children import new_child
from offsite_operator.manifests.plan import plan_of
from offsite_operator.observe.model import Engine, Observed
from offsite_operator.observe.quota import exceeded, remedy_for

_POLICY = "ValidatingAdmissionPolicy 'offsite-operator"
"""So a refusal by the chart `offsite-crds` begins, which is the administrator's to mend."""
_REFUSALS = (
    (
        "cannot create resource",
        "; the operator's Role lacks that: upgrade the release of the chart",
    ),
    (
        _POLICY,
        "; the charts offsite-crds and offsite are of one version: upgrade both",
    ),
    ("webhook", "; its administrator knows what this webhook wants"),
)
"""Parts of the API server's refusals of a child, and the remedy."""
_ASK_AGAIN = 15.0
"""Seconds until the API server is asked again."""


def begin(seen: Observed, step: Step, attempt: int, told: dict[str, Any]) -> Decision:
    """Create the child of an attempt at a step, or say what keeps it.

    Args:
        told: updates of the status by what the attempt before it told.
    """
    objected = objection(seen) or turn(seen) or _rejected(seen)
    if objected is not None:
        return with_told(objected, seen.job.status, told)
    if step == "Publish" and _sends(seen) and seen.job.status.sequence is None:
        return _allot(seen, told)
    plan = plan_of(seen, step, attempt, _engine(seen, step))
    updates = {**told, **entries(seen.job.status, plan, seen.now)}
    status = changed(seen, "Pending", starting(seen, plan.name), **updates)
    return Decision(create=new_child(plan), status=status)


def _sends(seen: Observed) -> bool:
    return seen.job.spec is not None and seen.job.spec.stage != "PlugIn"


def _rejected(seen: Observed) -> Decision | None:
    """Say what the API server has against a child that was decided on."""
    if seen.rejection is None:
        return None
    code, message = seen.rejection.code, seen.rejection.message
    if code in (400, 422) and _POLICY not in message:
        return finish(seen, "Failed", "InvalidPod", f"the cluster does not take it: {message}")
    if code == 409:
        return hold(seen, "NameTaken", message)
    quota = "exceeded quota" in message
    told = exceeded(message, 1) if quota else f"{message}{remedy_for(message, _REFUSALS)}"
    said = f"the API server refuses the child for now: {told}"
    return hold(seen, "WaitingForPod", said, _ASK_AGAIN)


def _allot(seen: Observed, told: dict[str, Any]) -> Decision:
    """Enter a sequence into the ledger before a child may use it."""
    assert seen.peer is not None, "there was no objection"
    ledger, sequence = allotting(seen.peer.status, seen.job.name, seen.job.uid)
    status = changed(seen, "Pending", {}, sequence=sequence, **told)
    return Decision(ledger=ledger, status=status, again=0)


def _engine(seen: Observed, step: Step) -> Engine:
    assert seen.job.spec is not None, "there was no objection"
    wanted = seen.job.spec.runtime.engine
    if step != "Work" or wanted == "Job" or not seen.ray:
        return "Job"
    return "RayJob"
