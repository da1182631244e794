"""The manifest of a bundle: what it is, who made it, and the digest of every file.

Written last: a folder without a manifest is not a bundle.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from offsite.api import EMULATORS
from offsite.api.problems import reason
from offsite.api.values import COLUMN_PATTERN
from offsite.errors import BundleError
from offsite.events import PrivacyReport
from offsite.families import Targets
from offsite.labels import Labels
from offsite.wire import Digest, Name, Part, digest_of

MANIFEST = "manifest.json"
_LARGEST_MANIFEST = 1 << 20

_PLAIN = r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$"


def is_plain(name: str) -> bool:
    """Whether a file may have that name: nothing that leads out of the folder."""
    return re.fullmatch(_PLAIN.rstrip("$"), name) is not None


def _not_the_manifest(name: str) -> str:
    if name == MANIFEST:
        raise ValueError("names itself")
    return name


FileName = Annotated[str, Field(pattern=_PLAIN), AfterValidator(_not_the_manifest)]
"""A plain name, of another file than the manifest itself."""


class FileEntry(Part):
    """Digest and size, in bytes, of one file."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0, le=1 << 44)


def _known(method: str) -> str:
    if method not in EMULATORS:
        raise ValueError(f"must be {' or '.join(EMULATORS)}")
    return method


ModuleName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]


class EmulatorFacts(Part):
    """What the receiver of an emulator needs to know of how it was made."""

    kind: Literal["emulator"] = "emulator"
    method: Annotated[str, AfterValidator(_known)] = "LayerDrop"
    parameters: Mapping[str, bool | int | float | str] = {}
    """The method's own (`EmulatorSection.parameters`); empty: an earlier version made it."""
    bottom: int = Field(ge=1)
    """Blocks at the bottom that are the full model's own."""
    top: int = Field(ge=1)
    healed: bool  # noqa: V107 - for people
    distilled_steps: int = Field(ge=0)  # noqa: V107 - for people

    @model_validator(mode="after")
    def _parameters_are_the_methods(self) -> "EmulatorFacts":
        if self.parameters:
            section = EMULATORS[self.method].model_validate(
                {**self.parameters, "method": self.method}
            )
            if section.parameters != self.parameters:
                raise ValueError(f"parameters hold more than those of {self.method}")
        return self


class PrivacyFacts(Part):
    """The differential privacy of an adapter: its bound, and what the bound was computed from.

    The number of units is left out: the peer gets the manifest, and whether one unit is in the data
    is what the noise protects.
    """

    epsilon: float = Field(gt=0, allow_inf_nan=False)
    delta: float = Field(gt=0, lt=1)
    noise_multiplier: float = Field(gt=0, allow_inf_nan=False)
    """Standard deviation of the noise, divided by `max_grad_norm`."""
    max_grad_norm: float = Field(gt=0, allow_inf_nan=False)
    """Norm that the gradient of a unit was clipped to."""
    unit: str = Field(pattern=rf"^(row|group:{COLUMN_PATTERN[1:-1]})$", max_length=69)
    """What is protected as a whole: `row`, or `group:` and the column of the data."""
    sampling_rate: float = Field(gt=0, le=1)
    """Probability of a unit to be in a batch (Poisson sampling)."""
    steps: int = Field(ge=1)
    accountant: Literal["prv"] = "prv"  # noqa: V107 - for people
    """How ε was computed (arXiv 2106.02848)."""

    def report(self) -> PrivacyReport:
        """Build the event that reports this."""
        names = {each.name for each in dataclasses.fields(PrivacyReport)} - {"event"}
        return PrivacyReport(**self.model_dump(include=names))


class AdapterFacts(Part):
    """What the receiver of an adapter needs to know; its own record decides what it may hold."""

    kind: Literal["adapter"] = "adapter"
    method: Literal["LoRA", "Blocks"]
    scope: Literal["All", "Ends"]
    targets: Targets = "All"
    """The linear modules that LoRA adapts. Whole blocks have all tensors."""
    rank: int = Field(ge=0, le=1024)
    """0 for whole blocks."""
    outside: tuple[ModuleName, ...] = Field((), max_length=16)
    """The modules outside the blocks that it changes, such as `head`: names on the wire."""
    answers: Digest
    """The envelope of the bundle that it was tuned in."""
    labels: Labels = ()
    """The classes of the new head that it brings, in the order of the head's outputs; empty: it
    brings none."""
    privacy: PrivacyFacts | None = None
    """The differential privacy of its training; None: it has none."""

    @model_validator(mode="after")
    def _targets_are_of_lora(self) -> "AdapterFacts":
        if self.method != "LoRA" and self.targets != "All":
            raise ValueError(f"an adapter {self.method} has no targets")
        return self

    @model_validator(mode="after")
    def _labels_are_of_a_head(self) -> "AdapterFacts":
        if self.labels and "head" not in self.outside:
            raise ValueError("labels name the classes of a head, which outside does not name")
        return self

    @model_serializer(mode="wrap")
    def _without_absent(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # earlier versions refuse these fields, so they are there only where they say something
        fields: dict[str, Any] = serialize(self)
        later = ("privacy", "labels", "targets")
        return {n: v for n, v in fields.items() if n not in later or (v and v != "All")}


class Manifest(Part):
    """The content of `manifest.json`."""

    format: Literal[1, 2] = 2  # noqa: V107 - checked by its type
    """Format 1 has neither `parameters` of an emulator nor `outside` of an adapter."""
    name: Name
    made_by: Name
    """The party that made it."""
    made_for: Name
    """The party that it was made for; so two of them never get the same bundle."""
    architecture: str = Field(max_length=100)
    dtype: Literal["float32", "bfloat16", "float16"]
    facts: Annotated[EmulatorFacts | AdapterFacts, Field(discriminator="kind")]
    files: dict[FileName, FileEntry] = Field(max_length=10_000)

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(entry.size for entry in self.files.values())


def file_digest(path: Path) -> str:
    """Compute the SHA-256 of a file, in hex, at constant memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def entries_of(
    folder: Path, but: str, known: Mapping[str, FileEntry] | None = None
) -> dict[str, FileEntry]:
    """Compute digest and size of every file in a folder but one, by name.

    Args:
        known: those of some files, which are not read again.
    """
    found = known or {}
    names = sorted(path.name for path in folder.iterdir() if path.name != but)
    return {name: found[name] if name in found else entry_of(folder / name) for name in names}


def entry_of(path: Path) -> FileEntry:
    """Compute digest and size of a file."""
    return FileEntry(sha256=file_digest(path), size=path.stat().st_size)


def write_manifest(
    folder: Path, known: Mapping[str, FileEntry] | None = None, /, **fields: Any
) -> str:
    """Write the manifest of all files in a folder, and return its digest.

    Args:
        known: as `entries_of`.
        fields: the fields of `Manifest` but `files`.
    """
    manifest = Manifest(files=entries_of(folder, MANIFEST, known), **fields)
    found = manifest.model_dump(by_alias=True)
    # not in ASCII, which would make many names of classes too long
    content = json.dumps(found, indent=2, sort_keys=True, ensure_ascii=False).encode()
    scratch = folder / f"{MANIFEST}.partial"
    scratch.write_bytes(content)
    scratch.replace(folder / MANIFEST)
    return digest_of(content)


def read_manifest(folder: Path) -> tuple[Manifest, str]:
    """Read a folder's manifest, and its digest. Looks at no other file.

    Raises:
        BundleError: there is none, or it is not a manifest of a format that is known.
    """
    path = folder / MANIFEST
    if path.is_symlink() or not path.is_file():
        raise BundleError(f"{folder} is not a bundle: it has no {MANIFEST}")
    if path.stat().st_size > _LARGEST_MANIFEST:
        raise BundleError(f"{path} is larger than {_LARGEST_MANIFEST} bytes")
    content = path.read_bytes()
    try:
        return Manifest.model_validate_json(content), digest_of(content)
    except ValidationError as error:
        raise BundleError(f"{path} is not a valid manifest: {reason(error)}") from error
