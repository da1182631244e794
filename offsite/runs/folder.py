"""The records in a party's home: `runs/<stage>/<job>-<time>.json`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from offsite.errors import InputError, NotFoundError
from offsite.runs.record import Run
from offsite.store import disk_errors, write_whole

Warn = Callable[[str], object]
"""Called with a message about a record that cannot be read."""


@dataclass(frozen=True)
class Runs:
    """The records of a home."""

    home: Path

    @property
    def folder(self) -> Path:
        """The folder of all records."""
        return self.home / "runs"

    def keep(self, run: Run) -> None:
        """Write the record of a run; it replaces an earlier one of the same run.

        Raises:
            InputError, StorageError: The disk is full, or not writable.
        """
        write_whole(self.folder / run.stage.lower() / f"{run.id}.json", run.content())

    def all(self, warn: Warn) -> list[Run]:
        """Read all records, the newest last. Those that cannot be read are left out.

        Raises:
            StorageError: The folder is not readable.
        """
        return sorted(self._readable(warn), key=lambda run: (run.started, run.id))

    def find(self, name: str, warn: Warn) -> Run:
        """Find a run by its id, by the name of its job, or by the path of its record.

        Of several runs of one job, it returns the newest.

        Raises:
            InputError: There is no such run, or the file is no record.
        """
        if name.endswith(".json"):
            return read_run(Path(name))
        runs = self.all(warn)
        found = [run for run in runs if run.id == name] or [run for run in runs if run.job == name]
        if not found:
            raise InputError(
                f"there is no run {name} in {self.folder}; list all runs with `offsite runs list`, "
                "or set --home"
            )
        return found[-1]

    def continued_by(self, run: Run, inputs_digest: str, warn: Warn) -> Run | None:
        """Find the record of earlier attempts at the same job with the same inputs."""
        earlier = self._readable(warn, f"{run.stage.lower()}/{run.job}-*.json")
        same = [
            each for each in earlier if (each.job, each.inputs_digest) == (run.job, inputs_digest)
        ]
        return max(same, key=lambda each: each.started, default=None)

    def _readable(self, warn: Warn, pattern: str = "*/*.json") -> Iterator[Run]:
        with disk_errors(self.folder):
            paths = sorted(self.folder.glob(pattern))
        for path in paths:
            try:
                yield read_run(path)
            except (InputError, NotFoundError) as error:
                warn(f"skipped: {error}")


def read_run(path: Path) -> Run:
    """Read the record of a run from a file.

    Raises:
        InputError: The file is missing, or is no record of this version.
        StorageError: It is not readable.
    """
    with disk_errors(path):
        if not path.is_file():
            raise InputError(f"there is no record of a run at {path}")
        content = path.read_bytes()
    try:
        return Run.read(content)
    except ValidationError as error:
        raise InputError(
            f"{path} is not the record of a run, is damaged, or was written by another version of "
            "offsite"
        ) from error


def new_id(job: str) -> str:
    """Make the id of a run that begins now: the name of its job, and the time to a millisecond."""
    at = datetime.now(UTC)
    return f"{job}-{at:%Y%m%dT%H%M%S}.{at.microsecond // 1000:03}Z"
