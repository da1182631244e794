"""A new classification head starts from a linear probe (`probe`)."""

from collections.abc import Sequence

from offsite.adapter import heads
from offsite.bundle.head import head_of
from offsite.events import Monitor
from offsite.layers import Loaded, family
from offsite.modality import Example
from offsite.training.probe import features, probe


def fit_head(
    loaded: Loaded,
    classes: int,
    examples: Sequence[Example],
    held_out: Sequence[Example],
    monitor: Monitor,
) -> None:
    """Start a new head, in place, from a linear probe on the features of the untouched model.

    Args:
        classes: How many the head has.
        examples: What the probe is fitted to.
        held_out: What the strength of the probe's penalty is chosen by.
    """
    head = head_of(family(loaded.model), loaded.model.config.to_dict())
    assert head is not None, "the model has a new head"
    train = features(loaded, examples, head.features, monitor, "probe: train")
    validation = features(loaded, held_out, head.features, monitor, "probe: validation")
    heads.fill(loaded.model, probe(train, validation, classes)._asdict())
