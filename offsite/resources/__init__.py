"""Kubernetes resources besides the job's spec: a job's status, and the OffsitePeer.

The CRDs are generated from these and from `offsite.api`. Only the operator writes a status, and
programs of other versions read it, so unknown fields are ignored. On the wire it is JSON without
nulls: `wire()`.
"""

from offsite.resources.job import (
    Artifact,
    Condition,
    ConditionType,
    Engine,
    JobStatus,
    Metric,
    Progress,
    StageStep,
    State,
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
    "Artifact",
    "Condition",
    "ConditionType",
    "Engine",
    "JobStatus",
    "Metric",
    "OffsitePeer",
    "PeerCondition",
    "PeerSpec",
    "PeerStatus",
    "Progress",
    "StageStep",
    "State",
    "Step",
]
