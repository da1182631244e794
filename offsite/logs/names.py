"""Names and bounds of kept logs."""

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from offsite.store.artifact_store import ArtifactStore
from offsite.task import WORK

LOGS = "logs"
"""Folder of the private store with a folder of logs for each job, by its UID."""
LONGEST_CHUNK = 256 << 10
"""Bytes of a chunk, unless it is one long line."""
FIRST_CHUNKS, LAST_CHUNKS = 4, 12
"""Chunks that are kept of a log: 1 MiB from its beginning, and 3 MiB to its end."""
MOST_LOGS = 64
"""Logs that are kept of a job, the newest ones; each is of one pod."""
_TIME = "%Y%m%dT%H%M%SZ"
_NAME = re.compile(
    r"(?P<attempt>\d{4,6})-(?P<step>open|work|report|publish)-(?P<started>\d{8}T\d{6}Z)"
    r"-(?P<pod>[0-9a-f]{8})\.(?P<number>\d{4,6})\.jsonl",
    re.ASCII,
)


@dataclass(frozen=True, order=True)
class LogName:
    """The log of one pod. Logs are in the order in which the pods ran."""

    attempt: int
    started: datetime
    step: str
    pod: str
    """A random number."""

    @classmethod
    def new(cls, attempt: int, step: str) -> Self:
        """Name the log of a pod that starts now."""
        started = datetime.now(UTC).replace(microsecond=0)
        return cls(attempt, started, step.lower(), secrets.token_hex(4))

    def chunk(self, number: int) -> str:
        """Return the name of the file with a chunk."""
        started = self.started.strftime(_TIME)
        return f"{self.attempt:04}-{self.step}-{started}-{self.pod}.{number:04}.jsonl"


def logs_in(names: Iterable[str]) -> dict[LogName, list[int]]:
    """Group the names of files by logs, oldest first, each with the numbers of its chunks."""
    found: dict[LogName, list[int]] = {}
    for name in names:
        parts = _NAME.fullmatch(name)
        if parts is None:
            continue
        try:
            started = datetime.strptime(parts["started"], _TIME).replace(tzinfo=UTC)
        except ValueError:  # not a valid date
            continue
        log = LogName(int(parts["attempt"]), started, parts["step"], parts["pod"])
        found.setdefault(log, []).append(int(parts["number"]))
    return {log: sorted(found[log]) for log in sorted(found)}


def folder_of(uid: str) -> str:
    """Return the folder with the logs of a job that steps with keys wrote or copied."""
    return f"{LOGS}/{uid}"


def folder_of_work(uid: str) -> str:
    """Return the folder where the step that trains keeps its logs of a job."""
    return f"{WORK}/{uid}/log"


def keep_newest(artifacts: ArtifactStore, folder: str) -> None:
    """Delete the oldest logs of a folder that has too many."""
    found = logs_in(artifacts.names(folder))
    for log in [*found][:-MOST_LOGS]:
        for number in found[log]:
            artifacts.remove(f"{folder}/{log.chunk(number)}")
