"""The step that trains, as a Ray job: the same step, in each worker of Ray Train.

Only the driver, which is this process, writes events: Ray prefixes and deduplicates what workers
print. The leading worker sends its own through a queue. What the step ended with is that it is
done, or the first failure that any of them reports.
"""

import threading
from typing import Any

import ray
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from ray.util.queue import Empty, Queue

from offsite.api import Resources
from offsite.errors import OffsiteError
from offsite.events import Done, Event, Failed, Monitor, failure
from offsite.process.lifetime import uncollected
from offsite.process.usage import peak_memory
from offsite.steps.pod import Pod
from offsite.task import WorkTask, write_task
from offsite.text import guard_output


def run_on_ray(pod: Pod[WorkTask], monitor: Monitor) -> Done | Failed:
    """Run the step in the workers of Ray Train, and emit its events here.

    Returns:
        the event that it ended with: `done`, or `failed`.

    Raises:
        OffsiteError: the workers, or Ray, ended without a word.
    """
    ray.init()
    events = _Events(Queue(actor_options={"num_cpus": 0}), monitor)
    variables = {name: value for name, value in pod.environ.items() if name.startswith("OFFSITE_")}
    trainer = TorchTrainer(
        _step,
        train_loop_config={
            "task": write_task(pod.task),
            "environ": variables,
            "queue": events.queue,
        },
        scaling_config=_scaling(pod.task.job.spec.resources),
        run_config=RunConfig(storage_path=str(pod.scratch / "ray")),
    )
    events.start()
    try:
        trainer.fit()
    except Exception as error:
        # a worker's own error explains more than Ray's
        if (last := events.stop()) is None:
            raise OffsiteError(_gone(str(error))) from error
        return last
    if (last := events.stop()) is None:
        raise OffsiteError("the workers of Ray Train ended without a word")
    return last


def _gone(report: str) -> str:
    """Explain in one line why a worker is gone; Ray's full report is in the log."""
    if any(sign in report for sign in ("low on memory", "OutOfMemory", "OOM")):
        return "the worker of Ray Train was killed: the pod has too little memory; ask for more"
    return f"the worker of Ray Train is gone: {' '.join(report.split())[:200]}; see its log"


def _scaling(wanted: Resources) -> ScalingConfig:
    resources = {"CPU": float(wanted.cpus_per_worker)}
    if wanted.gpus_per_worker:
        resources["GPU"] = float(wanted.gpus_per_worker)
    use_gpu = wanted.gpus_per_worker > 0
    return ScalingConfig(
        num_workers=wanted.workers, use_gpu=use_gpu, resources_per_worker=resources
    )


def _step(config: dict[str, Any]) -> None:
    """Run in each worker: the step, whose events go to the driver from the leading one."""
    guard_output()
    # the driver, which shares the pod's memory, needs no torch
    with uncollected():
        from offsite.layers import leads, rank, workers
        from offsite.stages.pod import run_work

    queue: Queue = config["queue"]
    pod = Pod(WorkTask.model_validate_json(config["task"]), config["environ"])
    if not leads():  # workers may share a machine
        pod = pod.at(pod.scratch / f"worker-{rank()}")
    try:
        run_work(pod, Monitor(queue.put if leads() else lambda event: None))
    except BaseException as error:
        # where one of several is gone, torch fails in the others; Ray knows of the one
        if isinstance(error, OffsiteError) or workers() == 1:
            queue.put(failure(error))
        raise
    peak = _highest(peak_memory())
    if leads():
        queue.put(Done(peak_memory_bytes=peak))


def _highest(peak: int) -> int:
    """Find the peak memory of the worker that needed most; all of them have to call."""
    import torch

    from offsite.layers import rank, total, workers

    peaks = torch.zeros(workers(), dtype=torch.float64)
    peaks[rank()] = peak
    return int(total(peaks).max())


class _Events(threading.Thread):
    """Passes the workers' events on, but for the one that they ended with."""

    def __init__(self, queue: Queue, monitor: Monitor) -> None:
        super().__init__(daemon=True)
        self.queue = queue
        self._monitor = monitor
        self._over = threading.Event()
        self._last: Done | Failed | None = None

    def run(self) -> None:
        """Pass on what comes, until the workers are over and all was passed on."""
        while True:
            over = self._over.is_set()
            try:
                event: Event = self.queue.get(timeout=0.5)
            except Empty:
                if over:
                    return
                continue
            if isinstance(event, Done | Failed):
                self._last = self._last or event
            else:
                self._monitor.emit(event)

    def stop(self) -> Done | Failed | None:
        """Wait for what is still to come; give what the workers ended with."""
        self._over.set()
        self.join()
        return self._last
