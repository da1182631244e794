"""The OffsitePeer: another organization, and the ledger of what was exchanged with it."""

from typing import Literal, Self

from pydantic import AwareDatetime, ConfigDict, Field

from offsite.api import RULES, Metadata, Name, Section, cel
from offsite.apiversion import API_VERSION, ApiVersion
from offsite.resources.written import BaseCondition, Digest, Written


class PeerSpec(Section):
    """Spec of an OffsitePeer."""

    id: Name = Field(
        json_schema_extra={
            RULES: [cel("self == oldSelf", "id is immutable; create another OffsitePeer")]
        }
    )
    """Id of the organization, as in its keys and on what it signs. Immutable."""
    public: str = Field(min_length=1, max_length=131_072)
    """The public file of the organization, unchanged, as `offsite keys export` writes it."""


class PeerCondition(BaseCondition):
    """One condition of a peer."""

    type: Literal["Ready"]
    """Type of the condition. Ready: the public file is valid and pinned; jobs can use the peer."""


class Accepted(Written):
    """An envelope of the peer that was verified and accepted."""

    bundle: str
    """Name of the bundle."""
    sequence: int = Field(ge=1)
    """Its sequence number. Lower ones are no longer accepted."""
    envelope: Digest
    """Digest of the envelope."""
    parent: Digest | None = None
    """Digest of the envelope that it answers: for an adapter, the emulator's."""


class Allotted(Written):
    """A sequence number that was allotted to a job which publishes to the peer."""

    bundle: str
    """Name of the bundle."""
    job: str
    """UID of the job."""
    sequence: int = Field(ge=1)
    """The sequence number."""


class PeerStatus(Written):
    """Status of an OffsitePeer, with the ledger of what was received and sent."""

    conditions: list[PeerCondition] = Field(
        default=[],
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        },
    )
    """Current conditions of the peer."""
    fingerprint: str | None = None
    """Fingerprint of the pinned keys. Compare it with the organization over another channel."""
    pinned: str | None = Field(None, max_length=131_072)
    """The pinned public file. A newer file must be signed by the newest signing key in it."""
    accepted: list[Accepted] = Field([])
    """Envelopes that were accepted. A retry of the same job may accept one again."""
    allotted: list[Allotted] = Field([])
    """Sequence numbers that were allotted to jobs."""


class ResourceMetadata(Metadata):
    """The metadata fields of a resource that offsite uses."""

    model_config = ConfigDict(extra="ignore")

    uid: str | None = None
    resource_version: str | None = None
    generation: int | None = None
    creation_timestamp: AwareDatetime | None = Field(None, strict=False)


class OffsitePeer(Written):
    """Another organization: its id, its public keys, and the ledger of what was exchanged."""

    api_version: ApiVersion = API_VERSION
    kind: Literal["OffsitePeer"] = "OffsitePeer"
    metadata: ResourceMetadata
    spec: PeerSpec
    status: PeerStatus = PeerStatus()

    @classmethod
    def read(cls, content: object) -> Self:
        """Read an object of the API server."""
        return cls.model_validate(content)
