"""Scores a model on the test set, and counts the FLOPs that it takes."""

from torch.utils.flop_counter import FlopCounterMode

from offsite.errors import DataError
from offsite.events import Monitor
from offsite.layers import Loaded, final_hidden, inference
from offsite.modality import Benchmark
from offsite.rehearsal.result import Measured, Model
from offsite.rows import DataFile
from offsite.stages.evaluation import Evaluation


def read_test(data: DataFile, loaded: Loaded, monitor: Monitor) -> Evaluation:
    """Read the test set for a model.

    Raises:
        DataError: it cannot be used, or no model can be scored on it.
    """
    evaluation = Evaluation.read(data, loaded, monitor)
    if reason := evaluation.bench.unscored:
        raise DataError(f"{data.name} cannot be scored on: {reason}")
    return evaluation


def measure(loaded: Loaded, test: Evaluation, setting: Model, monitor: Monitor) -> Measured:
    """Score a model on the test set, and report its metric."""
    found = test.report(loaded, setting, monitor)
    assert found is not None, "read_test checked it"
    return Measured(
        metric=found.metric,
        value=found.value,
        interval=found.interval,
        outcomes=tuple(_plain(each) for each in found.outcomes.tolist()),
    )


def _plain(outcome: float | list[float]) -> float | tuple[float, ...]:
    return tuple(outcome) if isinstance(outcome, list) else outcome


def forward_flops(loaded: Loaded, bench: Benchmark) -> int:
    """Count the FLOPs of a forward pass on the first example, predictions included."""
    batch = loaded.modality.collate(bench.examples[:1]).to(loaded.model.device)
    with inference(), FlopCounterMode(display=False) as counter:
        hidden = final_hidden(loaded.model, batch.inputs)
        bench.outcomes(loaded.model, hidden, batch)
    return int(counter.get_total_flops())
