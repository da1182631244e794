"""One organization on the machine of a step: its storage, models, data and limits.

A party's home holds `keys/` and `peers/` (who it is and whom it knows), `policy.yaml` (what it
allows its jobs, where that is not the default), `records/` (the emulators that it sent, by
envelope), `published/` (which job published what to whom), `approvals/` (egress reports, and
verdicts on them), `books/` (sequences, ledger, uses), `models/` (plugged-in models), `runs/`
(records of runs, which may be deleted), and `work/` and `journals/`, which hold what is under way,
are emptied when it is done, and may be deleted at any time, as `copies/` of the private store.
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
from offsite.rows import DataFile, image_files
from offsite.sealing import Disclosure
from offsite.steps.approvals import Approvals, FolderApprovals, GivenApproval
from offsite.steps.places import COMPANIONS, MODEL_FILES, copy_companions, from_hub
from offsite.store import FolderStore, local_path, user_path
from offsite.store.artifact_store import ArtifactStore, FolderArtifactStore
from offsite.store.open import refuse_same_place
from offsite.store.private_store import PrivateStore
from offsite.wire import canonical

Note = TypeVar("Note", bound=BaseModel)
_CLAIM = "pvc://"
APPROVALS = "approvals"
"""The folder of a home with egress reports, and the verdicts of approvers."""
POLICY = "policy.yaml"
"""The limits of a home: the fields of `Limits`."""


@dataclass(frozen=True)
class Party:
    """One organization."""

    id: str
    home: Path
    """The folder for work in progress."""
    private_store: PrivateStore
    artifacts: ArtifactStore
    """Persistent files: records of emulators, and notes of what was published."""
    base: Path = Path()
    """Base of the relative paths in a job."""
    checkpoint_seconds: float = 60.0
    claims: Path | None = None
    """Mount point of volume claims; None outside a cluster."""
    limits: Limits = field(default_factory=Limits)
    """Limits that apply to every job."""
    approvals: Approvals = field(default_factory=GivenApproval)
    """What other people approved, if the limits require it."""
    notices: Disclosure = Disclosure.REASON
    """How much a peer learns when a stage has failed for good."""

    @classmethod
    def on_this_machine(
        cls,
        party: str,
        home: Path,
        private_store: PrivateStore,
        base: Path,
        checkpoint_seconds: float,
        approvals: Path | None = None,
    ) -> "Party":
        """Describe a party whose files are all in its home.

        Args:
            approvals: Folder of the verdicts of approvers; None: `approvals` in the home.

        Raises:
            SpecError: Its policy is invalid.
        """
        return cls(
            party,
            home,
            private_store,
            FolderArtifactStore(home),
            base,
            checkpoint_seconds=checkpoint_seconds,
            limits=load_policy(home / POLICY),
            approvals=FolderApprovals(approvals or home / APPROVALS, approvals is not None),
        )

    def model(self, location: str) -> Path:
        """Return the folder of a model that a job names, downloading it if necessary.

        Raises:
            ModelError: A hub did not provide the model.
            InputError, StorageError: The private store did not provide it.
        """
        if location.startswith("hf://"):
            return from_hub(location.removeprefix("hf://"))
        if location.startswith("s3://"):
            return self.private_store.folder(location, MODEL_FILES)
        return self.path(location)

    def copy_companions(self, location: str, folder: Path) -> None:
        """Copy the files beside a model's weights.

        Raises:
            InputError: One links out of its volume; else as for `model`.
        """
        if location.startswith("s3://"):
            model, root = self.private_store.folder(location, COMPANIONS), None
        else:
            model = from_hub(location[5:]) if location.startswith("hf://") else self.path(location)
            claimed = location.startswith(_CLAIM) and self.claims is not None
            root = self.claims / _claim_of(location) if claimed and self.claims else None
        copy_companions(model, folder, root.resolve() if root else None)

    def data(self, location: str) -> Path:
        """Return the file or folder of data that a job names, downloading it if necessary.

        With JSON lines that name images, their files are downloaded, too.

        Raises:
            InputError, StorageError: The private store did not provide it.
            DataError: The lines are invalid.
        """
        if not location.startswith("s3://"):
            return self.path(location)
        if location.endswith("/"):
            return self.private_store.tree(location)
        path = self.private_store.file(location)
        names = [name for name, _ in image_files(DataFile(path, location))]
        if names:
            self.private_store.files(_folder_of(location), names)
        return path

    def file(self, location: str) -> Path:
        """Return one file of a model that a job names, downloading it if necessary.

        Raises:
            InputError, StorageError: The private store did not provide it.
        """
        at_store = location.startswith("s3://")
        return self.private_store.file(location) if at_store else self.path(location)

    def path(self, location: str) -> Path:
        """Resolve a path that a job names; a relative one is relative to the job.

        Raises:
            InputError: It is on a volume claim outside a cluster, leads out of the claim, is among
                the keys of a pod, or overlaps the exchange.
        """
        claimed = location.startswith(_CLAIM)
        find = user_path if self.claims is None else local_path
        path = self._on_claim(location) if claimed else self.base / find(location)
        if self.private_store.exchange is not None:
            refuse_same_place(self.private_store.exchange, FolderStore(path))
        path = path.resolve()
        if self.claims is not None and path.is_relative_to(Path(ETC)):
            raise InputError(
                f"{location} is where keys and credentials are mounted; name another path"
            )
        return path

    def _on_claim(self, location: str) -> Path:
        if self.claims is None:
            raise InputError(
                f"{location} is a volume of a cluster, which is not available here; name a path or s3://bucket/path"
            )
        claim, _, rest = location.removeprefix(_CLAIM).partition("/")
        path = (self.claims / claim / rest).resolve()
        if not path.is_relative_to((self.claims / claim).resolve()):
            raise InputError(f"{location} leads out of its volume; remove .. and links")
        return path

    def keep_record(self, record: EmulatorRecord) -> None:
        """Save the record of an emulator, before it is sent."""
        self.artifacts.write(_record_name(record.digest), canonical(record.wire()))

    def record(self, digest: str) -> EmulatorRecord:
        """Read the record of an emulator that was sent.

        Raises:
            BundleError: This party sent no such emulator.
        """
        name = _record_name(digest)
        found = self.note(name, read_record)
        if found is None:
            raise BundleError(
                f"{self.id} has sent no emulator {digest}: {self.artifacts.uri(name)} does not "
                "exist; run this where it was sent from, or restore the record from a backup"
            )
        return found

    def note(self, name: str, read: Callable[[bytes], Note]) -> Note | None:
        """Read a note; None: it does not exist.

        Args:
            read: Parses the content; raises ValidationError if it is damaged.

        Raises:
            InputError: It is damaged.
        """
        content = self.artifacts.read(name)
        if content is None:
            return None
        try:
            return read(content)
        except ValidationError as error:
            raise InputError(
                f"{self.artifacts.uri(name)} is damaged, or was written by another version of "
                "offsite; restore "
                "it from a backup"
            ) from error


def _folder_of(location: str) -> str:
    bucket, _, key = location.removeprefix("s3://").partition("/")
    if "/" not in key:
        raise InputError(
            f"{location} names images beside it; move them and it from the top of the bucket into "
            "a folder"
        )
    return f"s3://{bucket}/{key.rpartition('/')[0]}/"


def _claim_of(location: str) -> str:
    return location.removeprefix(_CLAIM).partition("/")[0]


def _record_name(digest: str) -> str:
    return f"records/{digest.removeprefix('sha256:')}.json"
