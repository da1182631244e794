"""The signed provenance of a plugged-in model: what it was made of, and its files.

Whoever has that party's public keys can tell the model from any other, and walk on from the
adapter's envelope to the emulator's (`offsite bundles verify --chain`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, ValidationError, model_serializer

from offsite.api import AlphaFactors
from offsite.api.problems import reason
from offsite.bundle.files import check_files
from offsite.bundle.manifest import FileEntry, FileName, entries_of
from offsite.errors import BundleError
from offsite.sealing import PublicRing, Ring
from offsite.sealing.primitives import TinkError, sign, verify
from offsite.sealing.signed import Signed
from offsite.store import write_whole
from offsite.wire import (
    Digest,
    Instant,
    Name,
    Part,
    bytes_of,
    canonical,
    now,
    text_of,
)

PROVENANCE = "provenance.json"
LARGEST_PROVENANCE = 4 << 20
_DOMAIN = b"offsite provenance 1\n"


class Origin(Part):
    """What a plugged-in model was made of."""

    emulator: Digest
    """The envelope of the emulator that the adapter answers."""
    adapter: Digest
    """The envelope of the adapter."""
    alpha: float = Field(ge=0, le=2)
    """The scale that it was plugged in with."""
    alpha_factors: AlphaFactors | None = None
    """Factors of the scale; None: all are 1."""
    alpha_rule: Literal["Auto"] | None = None
    """The rule that chose both; None: the author of the job."""

    @model_serializer(mode="wrap")
    def _without_absent(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # earlier versions refuse these fields, so they are there only where they say something
        fields: dict[str, Any] = serialize(self)
        return {name: value for name, value in fields.items() if value is not None}

    def __str__(self) -> str:
        factors = f", factors {self.alpha_factors}" if self.alpha_factors else ""
        rule = f", chosen by the rule {self.alpha_rule}" if self.alpha_rule else ""
        return f"alpha {self.alpha:g}{factors}{rule}"


class Provenance(Signed):
    """The content of `provenance.json`."""

    domain = _DOMAIN
    format: Literal[1] = 1  # noqa: V107 - checked by its type
    made_by: Name
    created: Instant
    origin: Origin
    files: dict[FileName, FileEntry] = Field(max_length=10_000)

    @property
    def size(self) -> int:
        """Bytes of all files together, but for this one."""
        return sum(entry.size for entry in self.files.values())


def write_provenance(
    folder: Path, ring: Ring, origin: Origin, known: Mapping[str, FileEntry] | None = None
) -> None:
    """Sign what a folder holds; written last, so that a folder without it is not whole.

    Args:
        known: As `entries_of`.

    Raises:
        InputError: the party has no key left to sign with.
    """
    signer = ring.newest("sign")
    bare = Provenance(
        made_by=ring.id,
        created=now(),
        origin=origin,
        files=entries_of(folder, PROVENANCE, known),
        signed_by=signer.id,
        signature="",
    )
    signed = bare.model_copy(update={"signature": text_of(sign(signer.keyset, bare.signed))})
    write_whole(folder / PROVENANCE, canonical(signed.wire()))


def read_provenance(content: bytes, rings: Sequence[PublicRing], source: str) -> Provenance:
    """Read a provenance, and check that its party signed it.

    Raises:
        BundleError: it is none, of a party whose keys are not among these, or was changed.
    """
    try:
        provenance = Provenance.model_validate_json(content)
    except (ValidationError, ValueError) as error:
        raise BundleError(
            f"{source} is not a {PROVENANCE} ({reason(error)}); ask the maker of the model for it "
            "anew"
        ) from error
    ring = next((ring for ring in rings if ring.id == provenance.made_by), None)
    if ring is None:
        raise BundleError(
            f"{source} is by {provenance.made_by}, whose public keys are not here; ask it for "
            "its public file, and add it with `offsite peers add`"
        )
    signer = ring.signer(provenance.signed_by, provenance.created)
    try:
        verify(signer.keyset, bytes_of(provenance.signature), provenance.signed)
    except TinkError as error:
        raise BundleError(
            f"{source}: the signature is wrong: it was changed; ask {provenance.made_by} for the "
            "model anew"
        ) from error
    return provenance


def check_plugged_in(folder: Path, rings: Sequence[PublicRing]) -> Provenance:
    """Check that a folder is the model that a party made and signed, byte for byte.

    Raises:
        BundleError: it is not.
    """
    path = folder / PROVENANCE
    if path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST_PROVENANCE:
        raise BundleError(f"{folder} is not a plugged-in model: it has no {PROVENANCE}")
    provenance = read_provenance(path.read_bytes(), rings, str(path))
    check_files(folder, provenance.files, PROVENANCE)
    return provenance
