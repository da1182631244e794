"""Where a party keeps its things, and where one job does its work.

A party's home holds `records/` (what it sent, by digest), `published/` (which job published what to
whom), `models/` (plugged-in models) and `work/` (one folder a job, which is deleted when its result
is published, and may be deleted at any time).
"""

import hashlib
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from pydantic import BaseModel

from offsite.api import NAME_PATTERN, PATTERN_MEANING, JobSpec
from offsite.bundle import EmulatorRecord
from offsite.bundle.manifest import canonical, file_digest, folder_digest
from offsite.errors import BundleError, DataError, InputError, ModelError, OffsiteError
from offsite.store import FolderExchange, disk_errors, local_path, new_folder
from offsite.train import Checkpoints

COMPANIONS = ("*.json", "*.model", "*.txt", "*.jinja", "LICENSE*")
"""The files that stand beside a model's weights, its config among them."""
_MODEL_FILES = ["*.safetensors", *COMPANIONS]


@dataclass(frozen=True)
class Party:
    """One organization, as the machine sees it that a stage runs on."""

    id: str
    home: Path
    exchange: FolderExchange
    base: Path = Path()
    """What relative paths in a job are relative to."""
    checkpoint_seconds: float = 60.0

    @classmethod
    def named(cls, id_: str, **places: Any) -> "Party":
        """Make a party, and check its id.

        Raises:
            InputError: the id is not a DNS label.
        """
        if not re.fullmatch(NAME_PATTERN, id_):
            raise InputError(f"party {id_!r} must be {PATTERN_MEANING[NAME_PATTERN]}")
        return cls(id_, **places)

    def resolve(self, location: str) -> Path:
        """Find what a location of a job names, on this machine.

        Raises:
            ModelError: a hub did not give what was asked for.
        """
        if location.startswith("hf://"):
            return from_hub(location.removeprefix("hf://"))
        return (self.base / local_path(location)).resolve()

    def sent(self, peer: str, name: str) -> Path:
        """Find what a peer sent to us under a name.

        Raises:
            BundleError: there is nothing.
        """
        place = self.exchange.path(peer, self.id, name)
        if not place.is_dir():
            raise BundleError(
                f"{peer} has sent {self.id} no bundle named {name}: there is no {place}"
            )
        return place

    def keep_record(self, record: EmulatorRecord) -> None:
        """Keep what is to be remembered of an emulator, before it is sent."""
        write_whole(self.record_path(record.digest), record.model_dump_json(by_alias=True))

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


@dataclass(frozen=True)
class Workspace:
    """The folder in which one job, with given inputs, does its work."""

    party: Party
    peer: str
    job: str
    fingerprint: str
    """Of everything that decides the result: another one is another job."""

    @property
    def folder(self) -> Path:
        """Where it keeps what a later attempt can use."""
        return self.party.home / "work" / f"{self.job}-{self.fingerprint[:12]}"

    @property
    def checkpoints(self) -> Checkpoints:
        """Where training keeps its checkpoint."""
        return Checkpoints(self.folder / "checkpoint.safetensors", self.party.checkpoint_seconds)

    @property
    def _published(self) -> Path:
        return self.party.home / "published" / self.peer / f"{self.job}.json"

    def published(self) -> Published | None:
        """Read what this job published, or was about to publish when it was cut off."""
        if not self._published.is_file():
            return None
        return Published.model_validate_json(self._published.read_bytes())

    def remember(self, digest: str) -> None:
        """Note what is about to be published."""
        note = Published(fingerprint=self.fingerprint, digest=digest)
        write_whole(self._published, note.model_dump_json())

    def clear(self) -> None:
        """Delete what only a later attempt could have used."""
        shutil.rmtree(self.folder, ignore_errors=True)


def write_whole(path: Path, content: str) -> None:
    """Write a file so that it is there whole or as it was before."""
    scratch = path.with_name(f".{path.name}.partial")
    with disk_errors(path), new_folder(path.parent):
        try:
            scratch.write_text(content, encoding="utf-8")
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)


@contextmanager
def workspace(party: Party, job: str, spec: JobSpec, inputs: dict[str, str]) -> Iterator[Workspace]:
    """Open the folder of one job, and keep every other process out of it.

    Args:
        inputs: what else decides the result: the digest of each input, by its name.

    Raises:
        OffsiteError: another process runs the same job.
    """
    facts: dict[str, Any] = {"spec": spec.model_dump(mode="json"), "inputs": inputs}
    space = Workspace(party, spec.peer, job, hashlib.sha256(canonical(facts)).hexdigest())
    with _alone(party.home / "work", f"{spec.peer}.{job}"), new_folder(space.folder):
        try:
            yield space
        except InputError:
            # the same job would fail again: nothing but a checkpoint is worth its place
            if not space.checkpoints.path.exists():
                space.clear()
            raise
        space.clear()


@contextmanager
def _alone(folder: Path, job: str) -> Iterator[None]:
    """Keep other processes from running a job of this name, whatever its spec is."""
    path = folder / f"{job}.lock"
    lock = FileLock(path, blocking=False)
    with new_folder(folder):
        try:
            with disk_errors(path):
                lock.acquire()
        except Timeout as error:
            raise OffsiteError(f"another process runs the job {job}: it holds {path}") from error
        try:
            yield
        finally:
            # before the release: filelock takes no lock on a file that was deleted meanwhile
            path.unlink(missing_ok=True)
            lock.release()


def model_digest(folder: Path) -> str:
    """Compute one digest over a model's weights and config.

    Raises:
        ModelError: there is no model in the folder.
    """
    names = [path.name for path in folder.glob("*.safetensors")] if folder.is_dir() else []
    if not names or not (folder / "config.json").is_file():
        raise ModelError(
            f"{folder} is not a model: it needs config.json, a tokenizer and *.safetensors"
        )
    return folder_digest(folder, dict.fromkeys(sorted([*names, "config.json"])))


def text_digest(path: Path) -> str:
    """Compute the digest of a data file, by which parties know that they mean the same text.

    Raises:
        DataError: there is no such file, or it cannot be read.
    """
    try:
        return f"sha256:{file_digest(path)}"
    except OSError as error:
        raise DataError(f"cannot read the data {path}: {error}") from error
