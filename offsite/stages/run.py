"""Running one job in this process."""

from offsite.api import OffsiteJob
from offsite.events import Monitor
from offsite.stages.distill import run_distill
from offsite.stages.plug_in import run_plug_in
from offsite.stages.tune import run_tune
from offsite.stages.workspace import Party
from offsite.usage import peak_memory


def run_job(job: OffsiteJob, party: Party, monitor: Monitor) -> None:
    """Run the stage of a job, from the last checkpoint if there is one, and publish its result.

    A job whose result is published already, from the same inputs, is done at once.

    Raises:
        OffsiteError: what went wrong; nothing half-made was published.
    """
    name, spec = job.metadata.name, job.spec
    if spec.distill is not None:
        run_distill(name, spec, spec.distill, party, monitor)
    elif spec.tune is not None:
        run_tune(name, spec, spec.tune, party, monitor)
    elif spec.plug_in is not None:
        run_plug_in(name, spec, spec.plug_in, party, monitor)
    monitor.emit({"event": "done", "peakMemoryBytes": peak_memory()})
