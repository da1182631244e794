"""Where a pod keeps its log: with keys in the job's folder of logs, without in that of its work."""

from collections.abc import Mapping
from pathlib import Path

from offsite.errors import OffsiteError
from offsite.logs.chunks import ChunkWriter
from offsite.logs.keeper import Keeper
from offsite.logs.kept import KeptLogs, LoggedJob
from offsite.logs.names import LogName, folder_of, folder_of_work, keep_newest
from offsite.steps.pod import Pod
from offsite.store.artifact_store import ArtifactStore, artifact_store_of
from offsite.store.open import open_store
from offsite.task import BaseTask, KeyedTask, NotifyTask, ReadNoticeTask, read_task
from offsite.wire import now


def keeper_of(path: Path, environ: Mapping[str, str]) -> Keeper | None:
    """Begin to keep the log of a pod.

    Args:
        path: The task; the step itself reports what is wrong with it.

    Returns:
        None: The log is not kept. Auxiliary steps have no access to the private store.
    """
    try:
        task = read_task(path)
    except OffsiteError:
        return None
    if not task.log_days or isinstance(task, NotifyTask | ReadNoticeTask):
        return None
    keyed = isinstance(task, KeyedTask)
    folder = folder_of(task.uid) if keyed else folder_of_work(task.uid)

    def begin() -> ArtifactStore:
        artifacts = _artifacts(task, environ)
        if keyed:
            KeptLogs(artifacts, task.uid).describe(_logged(task))
        keep_newest(artifacts, folder)
        return artifacts

    writer = ChunkWriter(begin, folder, LogName.new(task.attempt, task.step))
    return Keeper(environ, writer)


def _artifacts(task: BaseTask, environ: Mapping[str, str]) -> ArtifactStore:
    """Open the private store, unless it is the exchange."""
    exchange = None
    if isinstance(task, KeyedTask):
        exchange = open_store(task.exchange, "OFFSITE_EXCHANGE", environ)
    return artifact_store_of(task.private, Pod(task, environ).private_store(exchange))


def _logged(task: BaseTask) -> LoggedJob:
    name, stage = task.job.metadata.name, task.job.spec.stage
    return LoggedJob(name=name, uid=task.uid, stage=stage, since=now())
