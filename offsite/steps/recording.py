"""Records the run of a job on a cluster, whose steps are several pods (`offsite.runs`).

The step that trains keeps its part at `work/<uid of the job>/run.json` while it runs, so that of a
failed or killed attempt is there, too. The step that publishes joins it with its own part, keeps
the whole at `runs/<uid>/report.json`, and prints it as an event for who has no account of the
private store.

The image of the step that trains may be the author's own. Of its part, only what the training alone
can know is taken: figures, losses, times and versions.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic import ValidationError

from offsite.errors import OffsiteError
from offsite.events import Done, Monitor, Record
from offsite.exchange import Mailbox
from offsite.process.usage import peak_memory
from offsite.runs import Recorder, Run, begin, merged, recorded
from offsite.runs.merge import thinned
from offsite.store.artifact_store import ArtifactStore
from offsite.task import WORK, PublishTask, WorkTask

RUNS = "runs"
"""Folder of the private store with a folder for each job, by its UID."""
_REPORT, _PART = "report.json", "run.json"
_LARGEST = 4 << 20
_OF_WORK = (
    *("inputs_digest", "inputs", "started", "attempts", "duration", "seconds", "curves"),
    *("rates", "metrics", "peak_memory_bytes", "versions"),
)
"""Fields that only the training knows."""


@dataclass(frozen=True)
class RunRecords:
    """The records of one job in the private store."""

    artifacts: ArtifactStore
    uid: str

    def report(self) -> Run | None:
        """Read the record of the whole run; None: the job has not published."""
        return self._read(f"{RUNS}/{self.uid}/{_REPORT}")

    def part(self) -> Run | None:
        """Read the part of the step that trains; None: there is none that can be read."""
        return self._read(f"{WORK}/{self.uid}/{_PART}")

    def keep_report(self, run: Run) -> None:
        """Keep the record of the whole run."""
        self.artifacts.write(f"{RUNS}/{self.uid}/{_REPORT}", run.content())

    def keep(self, run: Run) -> None:
        """Keep the part of the step that trains; see `offsite.runs.Kept`."""
        self.artifacts.write(f"{WORK}/{self.uid}/{_PART}", run.content())

    def continued_by(
        self, run: Run, inputs_digest: str, log: Callable[[str], object]
    ) -> Run | None:
        """Read the part of the attempts before; see `offsite.runs.Kept`."""
        part = self.part()
        return part if part is not None and part.inputs_digest == inputs_digest else None

    def _read(self, path: str) -> Run | None:
        with suppress(OffsiteError, ValidationError):
            content = self.artifacts.read(path, _LARGEST)
            return None if content is None else Run.read(content)
        return None


def records_named(artifacts: ArtifactStore, name: str) -> list[Run]:
    """Read the records of all jobs of a name that published, oldest first.

    Raises:
        StorageError: The store is unavailable.
    """
    uids = artifacts.idle(RUNS, datetime.max.replace(tzinfo=UTC) - timedelta(days=1))
    found = (RunRecords(artifacts, uid).report() for uid in uids)
    return sorted((run for run in found if run and run.job == name), key=lambda run: run.started)


@contextmanager
def recorded_work(task: WorkTask, artifacts: ArtifactStore, monitor: Monitor) -> Iterator[Monitor]:
    """Record what the step that trains does in the `with` block; yields the monitor to use."""
    blank = begin(task.job, task.uid, party=task.party, peer=task.peer_id, fingerprints={})
    # the program of the pod tells when it is done; it reaches no tracking server
    with recorded(RunRecords(artifacts, task.uid), blank, monitor.without(Done), {}) as recording:
        yield recording
        recording.emit(Done(peak_memory_bytes=peak_memory()))


@contextmanager
def recorded_publish(
    task: PublishTask, artifacts: ArtifactStore, mailbox: Mailbox, monitor: Monitor
) -> Iterator[Monitor]:
    """Record the run when the `with` block has published; yields the monitor to use."""
    records, blank = RunRecords(artifacts, task.uid), _blank(task, mailbox)
    part, recorder = records.part(), Recorder(blank)
    yield monitor.with_copy(recorder.receive)
    recorder.receive(Done(peak_memory_bytes=peak_memory()))
    try:
        # an earlier attempt may have been killed after it deleted the part
        run = records.report() if part is None else None
        if run is None:
            before = blank if part is None else _believed(part, task, blank)
            run = merged(before, recorder.run, attempts=before.attempts)
            records.keep_report(run)
    except OffsiteError as error:  # the result is published
        monitor.log(f"the record of this run was not written: {error}")
    else:
        monitor.emit(Record(run=run.wire()))


def _blank(task: PublishTask, mailbox: Mailbox) -> Run:
    keys = (mailbox.ring.public(), mailbox.peers.get(task.job.spec.peer))
    prints = {each.id: each.fingerprint for each in keys}
    return begin(task.job, task.uid, party=task.party, peer=task.peer_id, fingerprints=prints)


def _believed(part: Run, task: PublishTask, blank: Run) -> Run:
    """Take from the part of the training what only it can know."""
    taken = {name: getattr(part, name) for name in _OF_WORK}
    taken["curves"] = {phase: thinned(points) for phase, points in part.curves.items()}
    if task.envelope is not None:
        taken["inputs"] = {**part.inputs, "bundle": task.envelope}
    return blank.model_copy(update=taken)
