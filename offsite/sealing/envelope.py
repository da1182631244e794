"""The envelope of a sealed bundle: sender, recipient, wrapped key, and one signature.

It is canonical JSON, so an envelope has one encoding and one digest. Its content is public; it
contains no digest of a plaintext, with which the store could confirm a guess.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from offsite.api.problems import reason
from offsite.errors import BundleError
from offsite.sealing.identity import PublicRing, Ring
from offsite.sealing.primitives import Keyset, TinkError, decrypt, encrypt, is_stream, sign, verify
from offsite.sealing.signed import Signed
from offsite.wire import (
    Base64,
    Digest,
    Instant,
    Name,
    Part,
    bytes_of,
    canonical,
    digest_of,
    text_of,
)

LARGEST_ENVELOPE = 4 << 20
MOST_SHARDS = 20_000
"""A bundle of 1.34 TB. The limit keeps a hostile peer from exhausting memory."""
_DOMAIN = b"offsite envelope 1\n"
_Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Shard(Part):
    """One sealed shard: a part of one file, stored as an object."""

    file: int = Field(ge=0, lt=10_001)
    """0 is the manifest; the other files are numbered in the order of their names."""
    number: int = Field(ge=0, lt=MOST_SHARDS)
    count: int = Field(ge=1, le=MOST_SHARDS)
    """Number of the file's shards."""
    sha256: _Hex
    """SHA-256 of the ciphertext, which is the object's name."""
    size: int = Field(ge=0, le=1 << 27)
    """Size of the ciphertext in bytes."""


class GrantTerms(Part):
    """The permitted use of an emulator. Its issuer enforces it on returned adapters."""

    expires: Instant | None = None
    max_uses: int | None = Field(None, ge=1)
    """Number of distinct adapters that are accepted."""


class Header(Part):
    """The public content of an envelope, visible to everyone with access to the store."""

    format: Literal[1] = 1  # noqa: V107 - checked by its type
    bundle: str = Field(pattern=r"^[0-9a-f]{32}$")
    """Random id that binds the shards to this envelope."""
    name: Name
    kind: Literal["emulator", "adapter", "tombstone", "notice"]
    sender: Name
    recipient: Name
    job: str = Field(pattern=r"^[A-Za-z0-9-]{1,64}$")
    """Id of the job that made it. All attempts of a job share one sequence."""
    sequence: int = Field(ge=1, lt=1 << 53)
    """For a notice: the round of its job."""
    created: Instant
    grant: GrantTerms = GrantTerms()
    parent: Digest | None = None
    """The envelope that this one answers."""
    shards: tuple[Shard, ...] = Field(max_length=MOST_SHARDS)

    @property
    def content(self) -> bytes:
        """The canonical encoding."""
        return canonical(self.wire())


class WrappedKey(Part):
    """The bundle's key, or a notice's content, encrypted to one key of one party."""

    to: str = Field(max_length=64)
    ciphertext: Base64


class Envelope(Signed):
    """Header, wrapped keys, and the sender's signature over both."""

    domain = _DOMAIN
    header: Header
    keys: tuple[WrappedKey, ...] = Field(max_length=4)

    @property
    def content(self) -> bytes:
        """The canonical encoding."""
        return canonical(self.wire())

    @property
    def digest(self) -> str:
        """The digest, as in a job's `@sha256:` reference."""
        return digest_of(self.content)

    def bundle_key(self, ring: Ring) -> Keyset:
        """Unwrap the key of the shards, as the recipient or the sender.

        Raises:
            BundleError: As for `unwrapped`; or it is not a key.
        """
        return _keyset(self.unwrapped(ring), self.header.sender)

    def unwrapped(self, ring: Ring) -> bytes:
        """Decrypt the wrapped content, as the recipient or the sender.

        Raises:
            BundleError: It is not encrypted to this ring, or its key was revoked or lost.
        """
        context = digest_of(self.header.content).encode()
        for wrapped in self.keys:
            if (entry := ring.decrypting(wrapped.to)) is None:
                continue
            try:
                return decrypt(entry.keyset, bytes_of(wrapped.ciphertext), context)
            except TinkError as error:
                raise BundleError(
                    f"{self.header.name}: its wrapped key was changed; ask {self.header.sender} to "
                    "send it again"
                ) from error
        raise BundleError(
            f"{self.header.name} is not sealed to any key that {ring.id} has; give the sender your "
            "newest public file"
        )


def write_envelope(
    header: Header, key: Keyset | None, ring: Ring, recipients: Sequence[PublicRing]
) -> Envelope:
    """Wrap a bundle's key to its recipient and to ourselves, and sign the envelope.

    Raises:
        InputError: A party has no valid key.
    """
    readers = (*recipients, ring.public()) if key else ()
    return wrap(header, canonical(key), ring, readers)


def wrap(header: Header, content: bytes, ring: Ring, readers: Sequence[PublicRing]) -> Envelope:
    """Encrypt a few bytes to each reader, and sign the envelope.

    Raises:
        InputError: A party has no valid key.
    """
    context = digest_of(header.content).encode()
    entries = [each.newest("encrypt") for each in readers]
    keys = tuple(
        WrappedKey(to=e.id, ciphertext=text_of(encrypt(e.keyset, content, context)))
        for e in entries
    )
    signer = ring.newest("sign")
    bare = Envelope(header=header, keys=keys, signed_by=signer.id, signature="")
    return bare.model_copy(update={"signature": text_of(sign(signer.keyset, bare.signed))})


def read_envelope(content: bytes, sender: PublicRing) -> Envelope:
    """Read an envelope, and verify its sender's signature.

    Raises:
        BundleError: It is malformed, not canonical, or not signed by a valid key.
    """
    remedy = f"ask {sender.id} to send it again"
    if len(content) > LARGEST_ENVELOPE:
        raise BundleError(f"{len(content)} bytes are too many for an envelope; {remedy}")
    try:
        envelope = Envelope.model_validate_json(content)
        same = envelope.content == content
    except (ValidationError, ValueError) as error:
        raise BundleError(f"cannot read the envelope ({reason(error)}); {remedy}") from error
    if not same:
        raise BundleError(f"the envelope was changed: its encoding is not canonical; {remedy}")
    header = envelope.header
    if header.sender != sender.id:
        raise BundleError(
            f"the envelope names the sender {header.sender}, not {sender.id}; {remedy}"
        )
    signer = sender.signer(envelope.signed_by, header.created)
    try:
        verify(signer.keyset, bytes_of(envelope.signature), envelope.signed)
    except TinkError as error:
        raise BundleError(
            f"{header.name} of {header.sender}: the signature is wrong: it was changed, or "
            f"another party made it; {remedy}"
        ) from error
    return envelope


def _keyset(content: bytes, sender: str) -> Keyset:
    try:
        keyset = TypeAdapter(Keyset).validate_json(content)
    except ValidationError as error:
        raise BundleError(f"the wrapped key is not a key; ask {sender} to send it again") from error
    if not is_stream(keyset):
        raise BundleError(
            "the wrapped key is of another kind, or has other parameters, than ours; ask "
            f"{sender} which version of offsite made it"
        )
    return keyset
