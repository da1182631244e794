"""Where a party keeps its things, and where one job does its work.

A party's home holds `keys/` and `peers/` (who it is and whom it knows), `records/` (the emulators
that it sent, by envelope), `published/` (which job published what to whom), `books/` (sequences,
ledger, uses), `models/` (plugged-in models), and `work/` and `journals/`, which hold what is under
way, are emptied when it is done, and may be deleted at any time, as `copies/` of the private store.
"""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from offsite.api import JobSpec
from offsite.bundle import EmulatorRecord
from offsite.errors import BundleError, InputError
from offsite.exchange import Mailbox
from offsite.sealing.parts import canonical
from offsite.stages.places import MODEL_FILES, from_hub
from offsite.store import disk_errors, local_path, locked, new_folder, write_whole
from offsite.store.library import Library
from offsite.train import Checkpoints

Note = TypeVar("Note", bound=BaseModel)


@dataclass(frozen=True)
class Party:
    """One organization, as the machine sees it that a stage runs on."""

    home: Path
    mailbox: Mailbox
    library: Library
    base: Path = Path()
    """What relative paths in a job are relative to."""
    checkpoint_seconds: float = 60.0

    @property
    def id(self) -> str:
        """The party's id."""
        return self.mailbox.id

    def model(self, location: str) -> Path:
        """Find the folder of a model that a job names; of one elsewhere, get a copy.

        Raises:
            ModelError: a hub did not give what was asked for.
            InputError, StorageError: the private store did not.
        """
        if location.startswith("hf://"):
            return from_hub(location.removeprefix("hf://"))
        if location.startswith("s3://"):
            return self.library.folder(location, MODEL_FILES)
        return self.path(location)

    def text(self, location: str) -> Path:
        """Find the file of a text that a job names; of one elsewhere, get a copy.

        Raises:
            InputError, StorageError: the private store did not give it.
        """
        return self.library.file(location) if location.startswith("s3://") else self.path(location)

    def path(self, location: str) -> Path:
        """Find a path that a job names; a relative one is relative to the job."""
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
        return _read_note(EmulatorRecord, path)


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
    def opened(self) -> Path:
        """Where what the peer sent comes to lie; what an earlier attempt opened is opened anew."""
        folder = self.folder / "opened"
        shutil.rmtree(folder, ignore_errors=True)
        return folder

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
        return _read_note(Published, self._published)

    def remember(self, digest: str, size: int) -> None:
        """Note what is about to be published; `size` in bytes."""
        note = Published(fingerprint=self.fingerprint, digest=digest, size=size)
        write_whole(self._published, note.model_dump_json().encode())

    def clear(self) -> None:
        """Delete what only a later attempt could have used."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _read_note(kind: type[Note], path: Path) -> Note:
    with disk_errors(path):
        content = path.read_bytes()
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        raise InputError(
            f"{path} is damaged, or of another version of offsite; restore it from a backup"
        ) from error


@contextmanager
def workspace(party: Party, job: str, spec: JobSpec, inputs: dict[str, str]) -> Iterator[Workspace]:
    """Open the folder of one job, and keep every other process out of it.

    Args:
        inputs: what else decides the result: the digest of each input, by its name.

    Raises:
        OffsiteError: another process runs the same job.
    """
    facts: dict[str, Any] = {"spec": spec.decides(), "inputs": inputs}
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
