"""The staging directory of a download, until it is complete and checked.

It is a hidden folder beside its target. A journal in the party's home lists the shards in it, so
that a later attempt fetches only the missing ones. The journal is not trusted: every file is
verified at the end.
"""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from offsite.errors import InputError, OffsiteError
from offsite.sealing import Envelope, Shard
from offsite.store import (
    disk_errors,
    locked,
    make_folders,
    new_folder,
    private_opener,
    write_whole,
)


@dataclass(frozen=True)
class Staging:
    """A folder that is being filled."""

    folder: Path
    journal: Path
    done: frozenset[str]
    """Shards that earlier attempts opened, by the digest of their ciphertext."""

    def add(self, shard: Shard) -> None:
        """Note that a shard is opened and written."""
        with (
            disk_errors(self.journal),
            open(self.journal, "a", encoding="ascii", opener=private_opener) as file,
        ):
            file.write(f"{shard.sha256}\n")


@contextmanager
def staging(target: Path, envelope: Envelope, journals: Path) -> Iterator[Staging]:
    """Fill a folder that is renamed to `target` when the `with` block succeeds.

    After a permanent error, such as a failed check or a full disk, the folder is deleted. After an
    interruption, the next attempt continues it. Waits for another process that fills the same
    target.

    Raises:
        InputError: The target exists; it is never replaced.
    """
    place = hashlib.sha256(str(target).encode()).hexdigest()[:32]
    journal = journals / f"{place}.{envelope.digest.removeprefix('sha256:')[:16]}.pull"
    scratch = target.with_name(f".{target.name}.partial")
    with locked(journals / f"{place}.lock"), disk_errors(target), new_folder(target.parent):
        _refuse_replacing(target)
        known = _known(journal, scratch)
        if not known:
            for stale in journals.glob(f"{place}.*.pull"):
                stale.unlink()
            shutil.rmtree(scratch, ignore_errors=True)
            make_folders(scratch)
            write_whole(journal, b"")
        try:
            with disk_errors(target):
                yield Staging(scratch, journal, known)
        except OffsiteError as error:
            if not error.retryable:
                shutil.rmtree(scratch, ignore_errors=True)
                journal.unlink()
            raise
        _refuse_replacing(target)
        scratch.rename(target)
        journal.unlink()


def _known(journal: Path, scratch: Path) -> frozenset[str]:
    if not journal.is_file() or not scratch.is_dir():
        return frozenset()
    # the last line may be incomplete
    return frozenset(journal.read_text("ascii", "replace").split("\n")[:-1])


def _refuse_replacing(target: Path) -> None:
    if target.exists():
        raise InputError(f"{target} already exists; choose another folder")
