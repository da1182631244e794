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
from offsite.bundle import EmulatorRecord, read_record
from offsite.bundle.weights import BlockDigests
from offsite.errors import DisclosureError, InputError
from offsite.steps.party import Party
from offsite.store import locked, new_folder, write_whole
from offsite.wire import Part, canonical

ANSWERED = "answered.json"
"""The record of the emulator that is opened, or that the adapter answers which is."""
SOURCE = "source.json"
"""What was known of the full model before the work."""
ATTEMPT = "attempt"
"""The id under which a result is sent; one that is made anew takes a sequence of its own."""


class Source(Part):
    """What is known of a job's full model before the work."""

    digest: str
    size: int
    """Bytes of its files."""
    config: dict[str, Any]
    blocks: tuple[BlockDigests, ...] = ()
    """Of a model that an emulator is made from."""
    outside: Mapping[str, str] = {}
    """The digests of such a model's tensors outside its blocks."""


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
    name: str
    """The job's, and that of what it publishes."""
    spec: JobSpec
    peer_id: str
    """The id of the party that `spec.peer` is an alias of."""
    fingerprint: str
    """Of everything that decides the result: another one is another job."""
    folder: Path
    """Where it keeps what a later attempt can use."""
    uid: str | None = None
    """Of the job on a cluster, under which its result is sent; None: one is drawn."""

    @property
    def result(self) -> Path:
        """Where its finished result lies until it is sent."""
        return self.folder / "result"

    @property
    def is_finished(self) -> bool:
        """Whether there is a result, and what it is checked against before it goes anywhere."""
        known = (self.folder / name for name in (SOURCE, ANSWERED))
        return self.result.exists() and any(path.exists() for path in known)

    @property
    def opened(self) -> Path:
        """Where what the peer sent comes to lie."""
        return self.folder / "opened"

    @property
    def checkpoint(self) -> Path:
        """Where training keeps its checkpoint."""
        return self.folder / "checkpoint" / "checkpoint.safetensors"

    def know(self, *, source: Source | None = None, answered: EmulatorRecord | None = None) -> None:
        """Write down what is known before the work, for whoever checks its result."""
        if source is not None:
            write_whole(self.folder / SOURCE, canonical(source.wire()))
        if answered is not None:
            write_whole(self.folder / ANSWERED, canonical(answered.wire()))

    def source(self) -> Source | None:
        """Read what is known of the full model; None: it is at a hub that the first step lacks."""
        path = self.folder / SOURCE
        return Source.model_validate_json(path.read_bytes()) if path.exists() else None

    def answered(self) -> EmulatorRecord:
        """Read what is known of the emulator that is opened, or that the adapter answers."""
        return read_record(self.known(ANSWERED))

    def known(self, name: str) -> bytes:
        """Read a note of what was known before the work.

        Raises:
            InputError: it is gone.
        """
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError as error:
            raise self.forgotten("of what the peer sent") from error

    def forgotten(self, what: str) -> InputError:
        """Say that what a result is to be checked against is gone."""
        return InputError(
            f"what was known {what} before {self.name} was made is gone, so the result "
            "cannot be checked; submit the job again under another name"
        )

    @property
    def sent_as(self) -> str:
        """The id under which the result is sent, however often that is tried."""
        return self.uid or (self.folder / ATTEMPT).read_text("ascii")

    @property
    def _published(self) -> str:
        return f"published/{self.spec.stage.lower()}/{self.spec.peer}/{self.name}.json"

    def published(self) -> Published | None:
        """Read what this job published, or was about to publish when it was cut off."""
        return self.party.note(self._published, Published.model_validate_json)

    def remember(self, digest: str, size: int) -> None:
        """Note what is about to be published; `size` in bytes."""
        note = Published(fingerprint=self.fingerprint, digest=digest, size=size)
        self.party.artifacts.write(self._published, note.model_dump_json().encode())

    def begin_result(self) -> None:
        """Give the result that is about to be made an id to be sent under."""
        write_whole(self.folder / ATTEMPT, (self.uid or secrets.token_hex(16)).encode())

    def clear(self) -> None:
        """Delete what only a later attempt could have used."""
        shutil.rmtree(self.folder, ignore_errors=True)


def fingerprint_of(spec: JobSpec, inputs: Mapping[str, str]) -> str:
    """Compute one digest over everything that decides a job's result.

    Args:
        inputs: the digest of each input, by its name.
    """
    facts = {"spec": spec.decides(), "inputs": dict(inputs)}
    return hashlib.sha256(canonical(facts)).hexdigest()


@contextmanager
def workspace(
    party: Party, name: str, spec: JobSpec, peer_id: str, inputs: Mapping[str, str]
) -> Iterator[Workspace]:
    """Open the folder of one job, and keep every other process out of it.

    Args:
        inputs: what else decides the result: the digest of each input, by its name.

    Raises:
        OffsiteError: another process runs the same job.
    """
    fingerprint = fingerprint_of(spec, inputs)
    folder = party.home / "work" / f"{name}-{fingerprint[:12]}"
    space = Workspace(party, name, spec, peer_id, fingerprint, folder)
    lock = party.home / "work" / f"{spec.peer}.{name}.lock"
    with locked(lock, f"another process runs the job {name}"), new_folder(folder):
        try:
            yield space
        except DisclosureError:
            space.clear()
            raise
        except InputError:
            # the same job would fail again: only a checkpoint or a result is worth its place
            if not space.checkpoint.exists() and not space.result.exists():
                space.clear()
            raise
        space.clear()
