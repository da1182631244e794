"""The OffsiteApproval: the verdict of one person on what one job is about to send."""

from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, ConfigDict, Field

from offsite.api import RULES, Name, Section, cel
from offsite.api.values import DIGEST_PATTERN
from offsite.apiversion import API_VERSION, GROUP, ApiVersion
from offsite.resources.peer import ResourceMetadata
from offsite.resources.written import Digest, Shown, Written

AUTHOR = f"{GROUP}/author"
"""Annotation of an OffsiteJob: the user who created it. The API server verifies it."""
Verdict = Literal["Approved", "Rejected"]
_FIXED = cel("self == oldSelf", "an approval cannot be changed; delete it, and create another one")


class ApprovalSpec(Section):
    """Spec of an OffsiteApproval. Immutable."""

    model_config = ConfigDict(json_schema_extra={RULES: [_FIXED]})

    job: Name
    """Name of the OffsiteJob that waits for the approval."""
    digest: Annotated[str, Field(pattern=DIGEST_PATTERN, max_length=71)]
    """Digest of the job's egress report, `status.egress.digest`."""
    verdict: Verdict
    """Approved lets the job send what the report lists; Rejected fails the job."""
    approver: str = Field(min_length=1, max_length=1024)
    """Your user name, as `kubectl auth whoami` shows it. The API server verifies it."""
    message: str = Field("", max_length=1024)
    """Reason for the verdict, for the author of the job."""


class OffsiteApproval(Written):
    """The verdict of one person on what a job is about to send to its peer."""

    api_version: ApiVersion = API_VERSION
    kind: Literal["OffsiteApproval"] = "OffsiteApproval"
    metadata: ResourceMetadata
    spec: ApprovalSpec

    @classmethod
    def read(cls, content: object) -> Self:
        """Read an object of the API server."""
        return cls.model_validate(content)


class Approval(Written):
    """An approval that the operator acted on."""

    approver: Shown
    """User who approved, as the API server knows them."""
    digest: Digest
    """Digest of the egress report that they approved."""
    name: Shown
    """Name of the OffsiteApproval."""
    time: AwareDatetime | None = None
    """When the OffsiteApproval was created."""
