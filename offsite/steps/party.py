"""One organization on the machine of a step: its storage, models, texts and limits.

A party's home holds `keys/` and `peers/` (who it is and whom it knows), `policy.yaml` (what it
allows its jobs, where that is not the default), `records/` (the emulators
that it sent, by envelope), `published/` (which job published what to whom), `books/` (sequences,
ledger, uses), `models/` (plugged-in models), and `work/` and `journals/`, which hold what is under
way, are emptied when it is done, and may be deleted at any time, as `copies/` of the private store.
On a cluster records, notes and models are in the private store, and a home lasts as its pod does.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from offsite.api import Limits
from offsite.bundle import EmulatorRecord, read_record
from offsite.config import load_policy
from offsite.errors import BundleError, InputError
from offsite.mounts import ETC
from offsite.sealing import Disclosure
from offsite.steps.places import COMPANIONS, MODEL_FILES, copy_companions, from_hub
from offsite.store import FolderStore, local_path
from offsite.store.artifact_store import ArtifactStore, FolderArtifactStore
from offsite.store.open import refuse_same_place
from offsite.store.private_store import PrivateStore
from offsite.wire import canonical

Note = TypeVar("Note", bound=BaseModel)
_CLAIM = "pvc://"
POLICY = "policy.yaml"
"""What a home allows its jobs: the fields of `Limits`."""


@dataclass(frozen=True)
class Party:
    """One organization."""

    id: str
    home: Path
    """The folder for what is under way."""
    private_store: PrivateStore
    artifacts: ArtifactStore
    """What is kept: records of emulators, and what was published."""
    base: Path = Path()
    """What relative paths in a job are relative to."""
    checkpoint_seconds: float = 60.0
    claims: Path | None = None
    """Where volume claims are mounted; None: this is no cluster."""
    limits: Limits = field(default_factory=Limits)
    """What it allows, whatever a job asks for."""
    notices: Disclosure = Disclosure.REASON
    """How much a peer is told when a stage has failed for good."""

    @classmethod
    def on_this_machine(
        cls,
        party: str,
        home: Path,
        private_store: PrivateStore,
        base: Path,
        checkpoint_seconds: float,
    ) -> "Party":
        """Describe a party all of whose things are in its home.

        Raises:
            SpecError: its policy is wrong.
        """
        return cls(
            party,
            home,
            private_store,
            FolderArtifactStore(home),
            base,
            checkpoint_seconds=checkpoint_seconds,
            limits=load_policy(home / POLICY),
        )

    def model(self, location: str) -> Path:
        """Find the folder of a model that a job names; of one elsewhere, get a copy.

        Raises:
            ModelError: a hub did not give what was asked for.
            InputError, StorageError: the private store did not.
        """
        if location.startswith("hf://"):
            return from_hub(location.removeprefix("hf://"))
        if location.startswith("s3://"):
            return self.private_store.folder(location, MODEL_FILES)
        return self.path(location)

    def copy_companions(self, location: str, folder: Path) -> None:
        """Copy what stands beside a model's weights, from where the model is.

        Raises:
            InputError: one leads out of the volume that it is on; else as `model`.
        """
        if location.startswith("s3://"):
            model, root = self.private_store.folder(location, COMPANIONS), None
        else:
            model = from_hub(location[5:]) if location.startswith("hf://") else self.path(location)
            claimed = location.startswith(_CLAIM) and self.claims is not None
            root = self.claims / _claim_of(location) if claimed and self.claims else None
        copy_companions(model, folder, root.resolve() if root else None)

    def text(self, location: str) -> Path:
        """Find the file of a text that a job names; of one elsewhere, get a copy.

        Raises:
            InputError, StorageError: the private store did not give it.
        """
        return (
            self.private_store.file(location)
            if location.startswith("s3://")
            else self.path(location)
        )

    def path(self, location: str) -> Path:
        """Find a path that a job names; a relative one is relative to the job.

        Raises:
            InputError: it is on a volume claim, and this is no cluster; it leads out of it; it is
                among the keys of a pod; or it is in the exchange, or that in it.
        """
        claimed = location.startswith(_CLAIM)
        path = self._on_claim(location) if claimed else self.base / local_path(location)
        if self.private_store.exchange is not None:
            refuse_same_place(self.private_store.exchange, FolderStore(path))
        path = path.resolve()
        if self.claims is not None and path.is_relative_to(Path(ETC)):
            raise InputError(f"{location} is no data: keys and accounts are mounted there")
        return path

    def _on_claim(self, location: str) -> Path:
        if self.claims is None:
            raise InputError(
                f"{location} is a volume of a cluster; name a path or s3://bucket/path"
            )
        claim, _, rest = location.removeprefix(_CLAIM).partition("/")
        path = (self.claims / claim / rest).resolve()
        if not path.is_relative_to((self.claims / claim).resolve()):
            raise InputError(f"{location} leads out of its volume")
        return path

    def keep_record(self, record: EmulatorRecord) -> None:
        """Keep what is to be remembered of an emulator, before it is sent."""
        self.artifacts.write(_record_name(record.digest), canonical(record.wire()))

    def record(self, digest: str) -> EmulatorRecord:
        """Read what is remembered of an emulator that was sent.

        Raises:
            BundleError: this party sent no such emulator.
        """
        name = _record_name(digest)
        found = self.note(name, read_record)
        if found is None:
            raise BundleError(
                f"{self.id} has sent no emulator {digest}: {self.artifacts.uri(name)} is not "
                "there; run this where it was sent from, or restore the record from a backup"
            )
        return found

    def note(self, name: str, read: Callable[[bytes], Note]) -> Note | None:
        """Read a note; None: there is none.

        Args:
            read: makes it of its content; raises ValidationError if it is damaged.

        Raises:
            InputError: it is damaged.
        """
        content = self.artifacts.read(name)
        if content is None:
            return None
        try:
            return read(content)
        except ValidationError as error:
            raise InputError(
                f"{self.artifacts.uri(name)} is damaged, or of another version of offsite; restore "
                "it from a backup"
            ) from error


def _claim_of(location: str) -> str:
    return location.removeprefix(_CLAIM).partition("/")[0]


def _record_name(digest: str) -> str:
    return f"records/{digest.removeprefix('sha256:')}.json"
