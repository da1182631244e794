"""Inspects one emulator: runs the measurements, and chooses the worst figure of each sign."""

from collections.abc import Iterator, Mapping

from offsite.events import Monitor
from offsite.inspection.attention import measure_attention
from offsite.inspection.gradients import Gradients
from offsite.inspection.predictions import measure_predictions
from offsite.inspection.signs import Measure, Report
from offsite.inspection.texts import measure_tokens, public_batches
from offsite.inspection.weights import measure_weights
from offsite.layers import Loaded, final_hidden, precision, watching_gradients
from offsite.modality import Batch


def inspect(loaded: Loaded, monitor: Monitor) -> Report:
    """Measure an emulator on public text; reads no private data, and changes nothing.

    Takes about as long as three training steps of 512 tokens, and less memory than one. A peer
    cannot make it take more: the numbers of tokens and of groups are fixed.

    Raises:
        ModelError: its companion files cannot encode text.
        InterruptedStage: a signal came.
    """
    batches = public_batches(loaded)
    measures = [*measure_tokens(batches), *measure_weights(loaded)]
    monitor.check()
    measures += measure_attention(loaded, batches)
    return Report.of([*measures, *_measure_training(loaded, batches, monitor)])


def _measure_training(
    loaded: Loaded, batches: Mapping[str, Batch], monitor: Monitor
) -> Iterator[Measure]:
    """Run each text forward and backward, as a training step would."""
    gradients, tracker = Gradients(loaded), monitor.track("inspect", len(batches))
    with watching_gradients(loaded.model, gradients.note):
        for kind, batch in batches.items():
            monitor.check()
            gradients.begin(batch.inputs["input_ids"])
            with precision():
                hidden = final_hidden(loaded.model, batch.inputs)
                loss = loaded.modality.summed_loss(loaded.model, hidden, batch)
                yield measure_predictions(loaded, hidden, kind)
            loss.backward()
            tracker.advance(units=batch.positions, unit=batch.unit)
    yield from gradients.measures()
