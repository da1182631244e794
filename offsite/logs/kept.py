"""Reads kept logs, copies those of the step that trains, and deletes those of deleted jobs.

The image of the step that trains may be the author's own, so what it kept is bounded and checked.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from pydantic import ValidationError

from offsite.errors import InputError, OffsiteError
from offsite.logs.lines import KeptLine, parse_kept
from offsite.logs.names import (
    FIRST_CHUNKS,
    LAST_CHUNKS,
    LOGS,
    LONGEST_CHUNK,
    MOST_LOGS,
    LogName,
    folder_of,
    folder_of_work,
    logs_in,
)
from offsite.store.artifact_store import ArtifactStore
from offsite.task import Jobs
from offsite.wire import Instant, Name, Part, canonical

JOB = "job.json"
_LARGEST = 2 * LONGEST_CHUNK
"""Bytes of a chunk that is read: one with a single long line is larger than others."""
_MOST_CHUNKS = FIRST_CHUNKS + LAST_CHUNKS + 1
"""Chunks of a log that are read; a writer that was killed may have left one more."""


class LoggedJob(Part):
    """The job that logs are of."""

    name: Name
    uid: str
    stage: str
    since: Instant
    """When its first step ran."""


class KeptLog(NamedTuple):
    """The kept log of one pod."""

    name: LogName
    paths: tuple[str, ...]
    """Its chunks, in the artifact store."""


@dataclass(frozen=True)
class KeptLogs:
    """The kept logs of one job."""

    artifacts: ArtifactStore
    uid: str

    def list(self) -> list[KeptLog]:
        """List the logs, in the order in which the pods ran.

        Raises:
            StorageError: The store is unavailable.
        """
        found = self._of_work() | self._in(folder_of(self.uid))
        return [KeptLog(name, found[name]) for name in sorted(found)]

    def lines(self, log: KeptLog) -> Iterator[KeptLine]:
        """Read a log.

        Raises:
            StorageError: The store is unavailable.
        """
        for path in log.paths:
            content = self.artifacts.read(path, _LARGEST)
            yield from map(parse_kept, (content or b"").splitlines())

    def describe(self, job: LoggedJob) -> None:
        """Write down which job the logs are of, once."""
        path = f"{folder_of(self.uid)}/{JOB}"
        if self.artifacts.read(path, _LARGEST) is None:
            self.artifacts.write(path, canonical(job.wire()))

    def collect(self) -> None:
        """Copy the logs of the step that trains to where only steps with keys write.

        Raises:
            StorageError: The store is unavailable.
        """
        for log in self._of_work().values():
            for path in log:
                with suppress(OffsiteError):  # the image of this step may have left anything
                    content = self.artifacts.read(path, _LARGEST) or b""
                    name = path.rpartition("/")[2]
                    self.artifacts.write(f"{folder_of(self.uid)}/{name}", content)

    def _of_work(self) -> dict[LogName, tuple[str, ...]]:
        try:
            found = self._in(folder_of_work(self.uid))
        except InputError:  # the image of this step may have put a link there
            return {}
        return {name: paths for name, paths in found.items() if name.step == "work"}

    def _in(self, folder: str) -> dict[LogName, tuple[str, ...]]:
        found = logs_in(self.artifacts.names(folder))
        return {
            name: tuple(f"{folder}/{name.chunk(number)}" for number in numbers[-_MOST_CHUNKS:])
            for name, numbers in [*found.items()][-MOST_LOGS:]
        }


def logged_jobs(artifacts: ArtifactStore, name: str) -> list[LoggedJob]:
    """List the jobs of a name that have kept logs, oldest first.

    Raises:
        StorageError: The store is unavailable.
    """
    found = []
    for uid in artifacts.idle(LOGS, datetime.max.replace(tzinfo=UTC) - timedelta(days=1)):
        with suppress(ValidationError):
            content = artifacts.read(f"{LOGS}/{uid}/{JOB}", _LARGEST) or b""
            job = LoggedJob.model_validate_json(content)
            if job.name == name and job.uid == uid:
                found.append(job)
    return sorted(found, key=lambda job: job.since)


def forget(artifacts: ArtifactStore, jobs: Jobs, days: int) -> list[str]:
    """Delete the logs of deleted jobs that were last written some days ago.

    Returns:
        The UIDs of the jobs.

    Raises:
        StorageError: The store is unavailable.
    """
    idle = artifacts.idle(LOGS, jobs.listed - timedelta(days=max(days, 1)))
    gone = sorted({*idle} - {*jobs.uids})
    for uid in gone:
        artifacts.remove(folder_of(uid))
    return gone
