"""Kubernetes resources besides the job's spec: a job's status, and the OffsitePeer.

The CRDs are generated from these and from `offsite.api`. Only the operator writes a status, and
programs of other versions read it, so unknown fields are ignored. On the wire it is JSON without
nulls: `wire()`.
"""

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
    "Accepted",
    "Allotted",
    "ArtifactStatus",
    "Condition",
    "ConditionType",
    "Engine",
    "JobState",
    "JobStatus",
    "MetricStatus",
    "OffsitePeer",
    "PeerCondition",
    "PeerSpec",
    "PeerStatus",
    "PrivacyStatus",
    "ProgressStatus",
    "StageStep",
    "Step",
]
