"""Inspects one emulator: runs the measurements, and chooses the worst figure of each sign."""

from collections.abc import Iterator, Sequence

from offsite.events import Monitor
from offsite.inspection.attention import measure_attention
from offsite.inspection.gradients import Gradients
from offsite.inspection.heads import with_head
from offsite.inspection.predictions import measure_predictions
from offsite.inspection.signs import Measure, Report
from offsite.inspection.weights import measure_weights
from offsite.layers import Loaded, final_hidden, precision, watching_gradients
from offsite.modality import Public


def inspect(loaded: Loaded, monitor: Monitor) -> Report:
    """Measure an emulator on public text or images; reads no private data, and changes nothing.

    Takes about as long as a few training steps, and less memory than one. A peer cannot make it
    take more: the numbers and sizes of public examples are bounded.

    Raises:
        ModelError: its companion files cannot encode text or images.
        InterruptedStage: a signal came.
    """
    public = [each.to(loaded.model.device) for each in loaded.modality.public()]
    measures = [*_measure_contents(public), *measure_weights(loaded)]
    monitor.check()
    measures += measure_attention(loaded, public)
    return Report.of([*measures, *_measure_training(loaded, public, monitor)])


def _measure_contents(public: Sequence[Public]) -> Iterator[Measure]:
    """Count what the peer's companion files make of each kind: different tokens, or patches."""
    for each in public:
        yield Measure("contents", each.kind, len(each.contents.unique()))


def _measure_training(
    loaded: Loaded, public: Sequence[Public], monitor: Monitor
) -> Iterator[Measure]:
    """Run each kind forward and backward, as a training step would."""
    gradients, tracker = Gradients(loaded), monitor.track("inspect", len(public))
    with with_head(loaded.model), watching_gradients(loaded.model, gradients.note):
        for each in public:
            monitor.check()
            gradients.begin(each)
            with precision():
                hidden = final_hidden(loaded.model, each.batch.inputs)
                loss = loaded.modality.summed_loss(loaded.model, hidden, each.batch)
                yield measure_predictions(loaded, hidden, each.kind)
            loss.backward()
            tracker.advance(units=each.batch.amount, unit=each.batch.unit)
    yield from gradients.measures()
