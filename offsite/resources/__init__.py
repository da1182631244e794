"""Kubernetes resources besides the job's spec: a job's status, the OffsitePeer, and the
OffsiteApproval.

The CRDs are generated from these and from `offsite.api`. Only the operator writes a status, and
programs of other versions read it, so unknown fields are ignored. On the wire it is JSON without
nulls: `wire()`.
"""

from offsite.resources.approval import AUTHOR, Approval, ApprovalSpec, OffsiteApproval, Verdict
from offsite.resources.egress import (
    EgressFact,
    EgressReport,
    SentFile,
    SentTensors,
    digest_of_report,
)
from offsite.resources.job import (
    ArtifactStatus,
    Condition,
    ConditionType,
    Engine,
    JobState,
    JobStatus,
    MetricStatus,
    PrivacyStatus,
    ProgressStatus,
    StageStep,
    Step,
)
from offsite.resources.peer import (
    Accepted,
    Allotted,
    OffsitePeer,
    PeerCondition,
    PeerSpec,
    PeerStatus,
)

__all__ = [
    "AUTHOR",
    "Accepted",
    "Allotted",
    "Approval",
    "ApprovalSpec",
    "ArtifactStatus",
    "Condition",
    "ConditionType",
    "EgressFact",
    "EgressReport",
    "Engine",
    "JobState",
    "JobStatus",
    "MetricStatus",
    "OffsiteApproval",
    "OffsitePeer",
    "PeerCondition",
    "PeerSpec",
    "PeerStatus",
    "PrivacyStatus",
    "ProgressStatus",
    "SentFile",
    "SentTensors",
    "StageStep",
    "Step",
    "Verdict",
    "digest_of_report",
]
