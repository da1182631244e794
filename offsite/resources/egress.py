"""The egress report: exactly what a stage is about to send to its peer."""

from typing import Any, Self

from pydantic import Field

from offsite.resources.written import Digest, Shown, Written
from offsite.wire import canonical, digest_of


class SentFile(Written):
    """A file that is sent, before encryption."""

    name: Shown
    """Name of the file."""
    sha256: str = Field(max_length=64)
    """SHA-256 of its content, in hex."""
    size_bytes: int = Field(ge=0)
    """Size in bytes."""


class SentTensors(Written):
    """Sent tensors of the same dtype and shape, whose names differ only in their numbers."""

    name: Shown
    """Name, with the numbers in braces: `blocks.{0-3,6}.mlp.up_proj.weight`."""
    dtype: Shown
    """Data type, as safetensors names it."""
    shape: list[int]
    """Shape of each."""
    count: int = Field(ge=1)
    """Number of tensors."""
    size_bytes: int = Field(ge=0)
    """Size of all of them in bytes."""


class EgressFact(Written):
    """A fact about what is sent, or a figure that was measured."""

    name: Shown
    """Name, such as `privacy.epsilon` or `emulator_tuned.perplexity`."""
    value: Shown
    """The value as text."""


class EgressReport(Written):
    """Exactly what a stage sends to its peer. An approval names its digest."""

    digest: Digest
    """SHA-256 of the other fields, as canonical JSON."""
    kind: Shown
    """What is sent: `adapter` or `emulator`."""
    bundle: Shown
    """Name of the bundle."""
    job: Shown
    """UID of the job; with `offsite run`, the id of its run."""
    sender: Shown
    """Id of the party that sends it."""
    recipient: Shown
    """Id of the only party that can open it."""
    recipient_keys: Shown
    """Fingerprint of the recipient's keys that it is encrypted to."""
    answers: Digest | None = None
    """Digest of the peer's envelope that it answers: for an adapter, the emulator's."""
    manifest: Digest
    """Digest of the bundle's manifest, which holds the SHA-256 of each file."""
    size_bytes: int = Field(ge=0)
    """Size of all files in bytes, before encryption."""
    files: list[SentFile]
    """All files, other than the manifest."""
    tensors: list[SentTensors]
    """All tensors in these files."""
    facts: list[EgressFact] = Field([])
    """What the manifest says, with ε and δ if the adapter is differentially private; for an
    emulator, also the model's blocks in it, and its grant.
    """
    figures: list[EgressFact] = Field([])
    """What the Work step measured. Not verified: the author's own image can report anything."""

    @classmethod
    def of(cls, **fields: Any) -> Self:
        """Build a report, and compute its digest."""
        bare = cls(digest="", **fields)
        return bare.model_copy(update={"digest": digest_of_report(bare.wire())})


def digest_of_report(wire: dict[str, Any]) -> str:
    """Compute the digest of a report in JSON; its own field `digest` does not count."""
    return digest_of(canonical({key: value for key, value in wire.items() if key != "digest"}))
