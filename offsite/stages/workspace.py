"""Where a party keeps its things, and where one job does its work.

A party's home holds `keys/` and `peers/` (who it is and whom it knows), `records/` (the emulators
that it sent, by envelope), `published/` (which job published what to whom), `books/` (sequences,
ledger, uses), `models/` (plugged-in models), and `work/` and `journals/`, which hold what is under
way, are emptied when it is done, and may be deleted at any time.
"""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from pydantic import BaseModel

from offsite.api import JobSpec
from offsite.bundle import EmulatorRecord
from offsite.bundle.manifest import file_digest, folder_digest
from offsite.errors import BundleError, DataError, InputError, ModelError, StorageError
from offsite.exchange import Mailbox
from offsite.sealing.parts import canonical
from offsite.store import disk_errors, local_path, locked, new_folder, write_whole
from offsite.train import Checkpoints

COMPANIONS = ("*.json", "*.model", "*.txt", "*.jinja", "LICENSE*")
"""The files that stand beside a model's weights, its config among them."""
_DECISIVE = (
    *("config.json", "generation_config.json"),
    *("tokenizer.json", "tokenizer_config.json", "tokenizer.model"),
)
_MODEL_FILES = ["*.safetensors", *COMPANIONS]


@dataclass(frozen=True)
class Party:
    """One organization, as the machine sees it that a stage runs on."""

    home: Path
    mailbox: Mailbox
    base: Path = Path()
    """What relative paths in a job are relative to."""
    checkpoint_seconds: float = 60.0

    @property
    def id(self) -> str:
        """The party's id."""
        return self.mailbox.id

    def resolve(self, location: str) -> Path:
        """Find what a location of a job names, on this machine.

        Raises:
            ModelError: a hub did not give what was asked for.
        """
        if location.startswith("hf://"):
            return from_hub(location.removeprefix("hf://"))
        return (self.base / local_path(location)).resolve()

    def keep_record(self, record: EmulatorRecord) -> None:
        """Keep what is to be remembered of an emulator, before it is sent."""
        write_whole(self.record_path(record.digest), canonical(record.wire()))

    def record_path(self, digest: str) -> Path:
        """Name the file that holds the record of an emulator."""
        return self.home / "records" / f"{digest.removeprefix('sha256:')}.json"

    def record(self, digest: str) -> EmulatorRecord:
        """Read what is remembered of an emulator that was sent.

        Raises:
            BundleError: this party sent no such emulator.
        """
        path = self.record_path(digest)
        if not path.is_file():
            raise BundleError(f"{self.id} has sent no emulator {digest}: {path} is not there")
        return EmulatorRecord.model_validate_json(path.read_bytes())


def from_hub(name: str) -> Path:
    """Get a model from the model hub, `org/name` or `org/name@revision`; gives its folder.

    Raises:
        ModelError: the hub did not give it.
    """
    repo, _, revision = name.partition("@")
    try:
        folder = snapshot_download(
            repo, revision=revision or None, allow_patterns=_MODEL_FILES, ignore_patterns="*/*"
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(f"cannot get hf://{name} from the model hub: {error}") from error
    return Path(folder)


class Published(BaseModel):
    """What a job published, and of which inputs it was made."""

    fingerprint: str
    digest: str
    """Of the envelope, or of the plugged-in model."""
    size: int


@dataclass(frozen=True)
class Workspace:
    """The folder in which one job, with given inputs, does its work."""

    party: Party
    stage: str
    peer: str
    job: str
    fingerprint: str
    """Of everything that decides the result: another one is another job."""

    @property
    def folder(self) -> Path:
        """Where it keeps what a later attempt can use."""
        return self.party.home / "work" / f"{self.job}-{self.fingerprint[:12]}"

    @property
    def result(self) -> Path:
        """Where its finished bundle lies until it is sent."""
        return self.folder / "result"

    @property
    def checkpoints(self) -> Checkpoints:
        """Where training keeps its checkpoint."""
        return Checkpoints(self.folder / "checkpoint.safetensors", self.party.checkpoint_seconds)

    @property
    def _published(self) -> Path:
        return self.party.home / "published" / self.stage / self.peer / f"{self.job}.json"

    def published(self) -> Published | None:
        """Read what this job published, or was about to publish when it was cut off."""
        if not self._published.is_file():
            return None
        return Published.model_validate_json(self._published.read_bytes())

    def remember(self, digest: str, size: int) -> None:
        """Note what is about to be published; `size` in bytes."""
        note = Published(fingerprint=self.fingerprint, digest=digest, size=size)
        write_whole(self._published, note.model_dump_json().encode())

    def clear(self) -> None:
        """Delete what only a later attempt could have used."""
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def workspace(party: Party, job: str, spec: JobSpec, inputs: dict[str, str]) -> Iterator[Workspace]:
    """Open the folder of one job, and keep every other process out of it.

    Args:
        inputs: what else decides the result: the digest of each input, by its name.

    Raises:
        OffsiteError: another process runs the same job.
    """
    facts: dict[str, Any] = {"spec": spec.model_dump(mode="json"), "inputs": inputs}
    fingerprint = hashlib.sha256(canonical(facts)).hexdigest()
    space = Workspace(party, spec.stage.lower(), spec.peer, job, fingerprint)
    lock = party.home / "work" / f"{spec.peer}.{job}.lock"
    with locked(lock, f"another process runs the job {job}"), new_folder(space.folder):
        try:
            yield space
        except InputError:
            # the same job would fail again: only a checkpoint or a result is worth its place
            if not space.checkpoints.path.exists() and not space.result.exists():
                space.clear()
            raise
        space.clear()


def model_digest(folder: Path) -> str:
    """Compute one digest over everything of a model that decides what it computes.

    Raises:
        ModelError: there is no model in the folder, or it cannot be read.
    """
    try:
        with disk_errors(folder):
            names = [p.name for p in folder.glob("*.safetensors")] if folder.is_dir() else []
            beside = [name for name in _DECISIVE if (folder / name).is_file()]
            if not names or "config.json" not in beside:
                raise ModelError(
                    f"{folder} is not a model: it needs config.json, a tokenizer and *.safetensors"
                )
            return folder_digest(folder, dict.fromkeys(sorted([*names, *beside])))
    except StorageError as error:
        raise ModelError(f"cannot read the model {folder}: {error}") from error


def text_digest(path: Path) -> str:
    """Compute the digest of a data file, by which parties know that they mean the same text.

    Raises:
        DataError: there is no such file, or it cannot be read.
    """
    try:
        return f"sha256:{file_digest(path)}"
    except OSError as error:
        raise DataError(f"cannot read the data {path}: {error}") from error
