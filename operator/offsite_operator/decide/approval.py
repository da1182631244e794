"""Decides whether a job may send what its step Report reported.

The API server verifies the names of author and approvers (the policies of the chart
`offsite-crds`), and only the Role `offsite-approver` may create an OffsiteApproval. That the two
differ is verified here as well. A recorded approval is final, and is of one digest.
"""

from collections.abc import Sequence
from typing import Literal

from offsite.resources import Approval, EgressReport, OffsiteApproval, Step
from offsite_operator.decide.decision import Decision
from offsite_operator.decide.status import ConditionUpdate, changed, finish
from offsite_operator.observe.model import Observed

AWAITING: Literal["AwaitingApproval"] = "AwaitingApproval"
APPROVED = "Approved"


def needs_approval(seen: Observed) -> bool:
    """Return whether the organization requires an approval of the job's result."""
    spec = seen.job.spec
    return spec is not None and seen.settings.bounds.requires_approval(spec.stage)


def gated(seen: Observed, step: Step) -> Step:
    """Return the step to run instead of Report or Publish.

    Publish runs after Report and an approval if one is required, else without them.
    """
    if step not in ("Report", "Publish"):
        return step
    return "Report" if needs_approval(seen) and not _is_approved(seen) else "Publish"


def await_approval(seen: Observed) -> Decision | None:
    """Decide about a job with a report; None: it may send now."""
    report = seen.job.status.egress
    assert report is not None, "the job has a report"
    if not needs_approval(seen) or _is_approved(seen):
        return None
    own, others = _verdicts(seen, report.digest)
    for each in others:
        if each.spec.verdict == "Rejected":
            why = f"{each.spec.approver} rejected {report.digest}: {each.spec.message}"
            return finish(seen, "Failed", "ApprovalRejected", why.rstrip(": "))
    if others:
        approval = _recorded(others[0])
        update = ConditionUpdate("False", APPROVED, _approved(approval))
        recorded = changed(seen, "Pending", {"Running": update}, approval=approval)
        return Decision(status=recorded, again=0)
    update = ConditionUpdate("False", AWAITING, _request(seen, report, own))
    # the wait costs no slot, and no time of activeDeadlineSeconds
    return Decision(status=changed(seen, AWAITING, {"Running": update}, start_time=None))


def _is_approved(seen: Observed) -> bool:
    status = seen.job.status
    report, approval = status.egress, status.approval
    return report is not None and approval is not None and approval.digest == report.digest


def _verdicts(
    seen: Observed, digest: str
) -> tuple[Sequence[OffsiteApproval], Sequence[OffsiteApproval]]:
    """Return the verdicts on a report, oldest first: the author's own, and those of others."""
    found = [each for each in seen.approvals if each.spec.digest == digest]
    own = [each for each in found if each.spec.approver == seen.job.author]
    return own, [each for each in found if each not in own]


def _recorded(found: OffsiteApproval) -> Approval:
    return Approval(
        approver=found.spec.approver,
        digest=found.spec.digest,
        name=found.metadata.name,
        time=found.metadata.creation_timestamp,
    )


def _approved(approval: Approval) -> str:
    return f"{approval.approver} approved {approval.digest} ({approval.name})"


def _request(seen: Observed, report: EgressReport, own: Sequence[OffsiteApproval]) -> str:
    name, author = seen.job.name, seen.job.author
    ignored = f"; {own[0].metadata.name} is of the author, and does not count" if own else ""
    return (
        f"an {report.kind} for {report.recipient} waits for an approval by another user than "
        f"{author}, with the Role offsite-approver; read it: offsite egress {name}; then: "
        f"offsite approve {name} {report.digest}{ignored}"
    )
