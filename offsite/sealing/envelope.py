"""The envelope of a sealed bundle: who sent what to whom, its key, one signature over it all.

It is canonical JSON: an envelope has one encoding, and so one digest. What it names is public: it
holds no digest of a plaintext, by which the store could confirm a guess.
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
"""1.34 TB of a bundle. What an envelope may hold a hostile peer may fill memory with."""
_DOMAIN = b"offsite envelope 1\n"
_Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Shard(Part):
    """One sealed shard: a piece of one file, an object of its own."""

    file: int = Field(ge=0, lt=10_001)
    """0 is the manifest; the others are its files, in the order of their names."""
    number: int = Field(ge=0, lt=MOST_SHARDS)
    count: int = Field(ge=1, le=MOST_SHARDS)
    """Of the file's shards."""
    sha256: _Hex
    """Of the ciphertext, which is the object's name."""
    size: int = Field(ge=0, le=1 << 27)
    """Bytes of the ciphertext."""


class Grant(Part):
    """What an emulator may be used for. It binds its issuer, who enforces it on what returns."""

    expires: Instant | None = None
    max_uses: int | None = Field(None, ge=1)
    """How many distinct adapters are accepted."""


class Header(Part):
    """What an envelope says. The store and everybody who may read there see it."""

    format: Literal[1] = 1  # noqa: V107 - checked by its type
    bundle: str = Field(pattern=r"^[0-9a-f]{32}$")
    """Drawn at random; binds the shards to this envelope."""
    name: Name
    kind: Literal["emulator", "adapter", "tombstone", "notice"]
    sender: Name
    recipient: Name
    job: str = Field(pattern=r"^[A-Za-z0-9-]{1,64}$")
    """The job that made it: one job has one sequence, however often it is tried."""
    sequence: int = Field(ge=1, lt=1 << 53)
    """Of a notice: which round of its job it is about."""
    created: Instant
    grant: Grant = Grant()
    parent: Digest | None = None
    """The envelope that this one answers."""
    shards: tuple[Shard, ...] = Field(max_length=MOST_SHARDS)

    @property
    def content(self) -> bytes:
        """Its one encoding."""
        return canonical(self.wire())


class WrappedKey(Part):
    """The bundle's key, or what a notice says, encrypted to one key of one party."""

    to: str = Field(max_length=64)
    ciphertext: Base64


class Envelope(Signed):
    """Header, wrapped keys, and the sender's signature over both."""

    domain = _DOMAIN
    header: Header
    keys: tuple[WrappedKey, ...] = Field(max_length=4)

    @property
    def content(self) -> bytes:
        """Its one encoding."""
        return canonical(self.wire())

    @property
    def digest(self) -> str:
        """What `@sha256:` means in a job."""
        return digest_of(self.content)

    def bundle_key(self, ring: Ring) -> Keyset:
        """Unwrap the key of the shards, as the recipient or as the sender.

        Raises:
            BundleError: as `unwrapped`; or it is no key.
        """
        return _keyset(self.unwrapped(ring), self.header.sender)

    def unwrapped(self, ring: Ring) -> bytes:
        """Decrypt what was wrapped, as the recipient or as the sender.

        Raises:
            BundleError: it is for nobody that has this ring, or its key was revoked or lost.
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
    """Wrap a bundle's key to its recipient and to ourselves, and sign it all.

    Raises:
        InputError: somebody has no key left.
    """
    readers = (*recipients, ring.public()) if key else ()
    return wrap(header, canonical(key), ring, readers)


def wrap(header: Header, content: bytes, ring: Ring, readers: Sequence[PublicRing]) -> Envelope:
    """Encrypt a few bytes to each reader, and sign it all.

    Raises:
        InputError: somebody has no key left.
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
    """Read an envelope, and check that its sender signed it.

    Raises:
        BundleError: it is none, not in its one encoding, or not signed by a key that counts.
    """
    remedy = f"ask {sender.id} to send it again"
    if len(content) > LARGEST_ENVELOPE:
        raise BundleError(f"{len(content)} bytes are too many for an envelope; {remedy}")
    try:
        envelope = Envelope.model_validate_json(content)
        same = envelope.content == content
    except (ValidationError, ValueError) as error:
        raise BundleError(f"the envelope cannot be read ({reason(error)}); {remedy}") from error
    if not same:
        raise BundleError(f"the envelope is not in its one encoding: it was changed; {remedy}")
    header = envelope.header
    if header.sender != sender.id:
        raise BundleError(f"the envelope is of {header.sender}, not of {sender.id}; {remedy}")
    signer = sender.signer(envelope.signed_by, header.created)
    try:
        verify(signer.keyset, bytes_of(envelope.signature), envelope.signed)
    except TinkError as error:
        raise BundleError(
            f"{header.name} of {header.sender}: the signature is wrong; it was changed, or "
            f"somebody else made it; {remedy}"
        ) from error
    return envelope


def _keyset(content: bytes, sender: str) -> Keyset:
    try:
        keyset = TypeAdapter(Keyset).validate_json(content)
    except ValidationError as error:
        raise BundleError(f"the wrapped key holds no key; ask {sender} to send it again") from error
    if not is_stream(keyset):
        raise BundleError(
            "the wrapped key is of another kind, or has other parameters, than ours; ask "
            f"{sender} which version of offsite made it"
        )
    return keyset
