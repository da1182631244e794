"""The workspace of one job: its files, its notes, and what it published."""

import hashlib
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from offsite.api import JobSpec
from offsite.bundle import EmulatorRecord, NewHead, read_record
from offsite.bundle.weights import BlockDigests
from offsite.errors import DisclosureError, InputError
from offsite.steps.party import Party
from offsite.store import locked, new_folder, write_whole
from offsite.wire import Part, canonical

ANSWERED = "answered.json"
"""The record of the opened emulator, or of the one that the opened adapter answers."""
SOURCE = "source.json"
"""The baseline of the full model, recorded before the work."""
HEAD = "head.safetensors"
"""The new head of the opened adapter, if it brings one."""
ATTEMPT = "attempt"
"""The id under which a result is sent. A new result gets a new id, and so its own sequence."""
SCALE = "scale.json"
"""The scale that `alphaAuto` chose for the opened adapter."""
FIGURES = "figures.json"
"""What the work measured, for the egress report."""


class Source(Part):
    """The baseline of a job's full model, recorded before the work."""

    digest: str
    size: int
    """Total size of its files in bytes."""
    config: dict[str, Any]
    blocks: tuple[BlockDigests, ...] = ()
    """Only for a model that an emulator is made from."""
    outside: Mapping[str, str] = {}
    """Digests of that model's tensors outside its blocks."""


class Published(BaseModel):
    """What a job published, and from which inputs."""

    fingerprint: str
    digest: str
    """Digest of the envelope or of the plugged-in model."""
    size: int


@dataclass(frozen=True)
class Workspace:
    """The folder in which one job, with given inputs, works."""

    party: Party
    name: str
    """Name of the job and of its bundle."""
    spec: JobSpec
    peer_id: str
    """Id of the party behind the alias `spec.peer`."""
    fingerprint: str
    """Digest of everything that affects the result; another fingerprint means another job."""
    folder: Path
    """Folder of the files that a later attempt can use."""
    uid: str | None = None
    """UID of the job on a cluster, under which its result is sent; None: a random id is used."""

    @property
    def result(self) -> Path:
        """The finished result, until it is sent."""
        return self.folder / "result"

    @property
    def is_finished(self) -> bool:
        """Whether there is a result, together with the baseline to check it against."""
        known = (self.folder / name for name in (SOURCE, ANSWERED))
        return self.result.exists() and any(path.exists() for path in known)

    @property
    def opened(self) -> Path:
        """Folder of the opened bundle."""
        return self.folder / "opened"

    @property
    def checkpoint(self) -> Path:
        """The training checkpoint."""
        return self.folder / "checkpoint" / "checkpoint.safetensors"

    def know(
        self,
        *,
        source: Source | None = None,
        answered: EmulatorRecord | None = None,
        head: NewHead | None = None,
    ) -> None:
        """Record the baseline that the result is later checked against."""
        if source is not None:
            write_whole(self.folder / SOURCE, canonical(source.wire()))
        if answered is not None:
            write_whole(self.folder / ANSWERED, canonical(answered.wire()))
        if head is not None:
            write_whole(self.folder / HEAD, head.content)

    def source(self) -> Source | None:
        """Read the baseline of the full model; None: the model is at a hub, out of reach of the
        first step.
        """
        path = self.folder / SOURCE
        return Source.model_validate_json(path.read_bytes()) if path.exists() else None

    def answered(self) -> EmulatorRecord:
        """Read the record of the opened emulator, or of the one that the adapter answers."""
        return read_record(self.known(ANSWERED))

    def new_head(self) -> NewHead | None:
        """Read the head that the opened adapter brings; None: it brings none."""
        path = self.folder / HEAD
        return NewHead.read(path) if path.exists() else None

    def known(self, name: str) -> bytes:
        """Read a note that was written before the work.

        Raises:
            InputError: It is missing.
        """
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError as error:
            raise self.forgotten("of what the peer sent") from error

    def forgotten(self, what: str) -> InputError:
        """Build the error for a missing baseline."""
        return InputError(
            f"the notes {what} from before {self.name} was made are missing, so the result "
            "cannot be checked; submit the job again under another name"
        )

    @property
    def sent_as(self) -> str:
        """The id under which the result is sent, the same for every attempt to send it."""
        return self.uid or (self.folder / ATTEMPT).read_text("ascii")

    @property
    def _published(self) -> str:
        return f"published/{self.spec.stage.lower()}/{self.spec.peer}/{self.name}.json"

    def published(self) -> Published | None:
        """Read what this job published, or was about to publish when it was interrupted."""
        return self.party.note(self._published, Published.model_validate_json)

    def remember(self, digest: str, size: int) -> None:
        """Record what is about to be published; `size` in bytes."""
        note = Published(fingerprint=self.fingerprint, digest=digest, size=size)
        self.party.artifacts.write(self._published, note.model_dump_json().encode())

    def begin_result(self) -> None:
        """Assign the id under which the new result will be sent."""
        write_whole(self.folder / ATTEMPT, (self.uid or secrets.token_hex(16)).encode())

    def clear(self) -> None:
        """Delete the files that only a later attempt could use."""
        shutil.rmtree(self.folder, ignore_errors=True)


def fingerprint_of(spec: JobSpec, inputs: Mapping[str, str]) -> str:
    """Compute one digest over everything that affects a job's result.

    Args:
        inputs: Digest of each input, by name.
    """
    facts = {"spec": spec.decides(), "inputs": dict(inputs)}
    return hashlib.sha256(canonical(facts)).hexdigest()


@contextmanager
def workspace(
    party: Party, name: str, spec: JobSpec, peer_id: str, inputs: Mapping[str, str]
) -> Iterator[Workspace]:
    """Open the folder of one job, and lock out other processes.

    Args:
        inputs: Digest of each input, by name; part of the fingerprint.

    Raises:
        OffsiteError: Another process runs the same job.
    """
    fingerprint = fingerprint_of(spec, inputs)
    folder = party.home / "work" / f"{name}-{fingerprint[:12]}"
    space = Workspace(party, name, spec, peer_id, fingerprint, folder)
    lock = party.home / "work" / f"{spec.peer}.{name}.lock"
    with locked(lock, f"another process runs the job {name}; wait for it"), new_folder(folder):
        try:
            yield space
        except DisclosureError:
            space.clear()
            raise
        except InputError:
            # the same job would fail again, so only a checkpoint or a result is worth keeping
            if not space.checkpoint.exists() and not space.result.exists():
                space.clear()
            raise
        space.clear()
