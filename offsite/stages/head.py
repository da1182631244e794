"""The classification head of a Tune job: the model's own, or a new one that starts from a probe."""

from collections.abc import Sequence
from dataclasses import replace

from offsite.adapter import heads
from offsite.api import Tune
from offsite.bundle.head import HeadRecord, head_of
from offsite.events import Monitor
from offsite.layers import Loaded, family
from offsite.modality import Example
from offsite.rows import DataFile, labels_in
from offsite.steps.classes import classes_of
from offsite.training.probe import features, probe


def begin_head(
    loaded: Loaded, head: HeadRecord | None, job: Tune, train: DataFile, monitor: Monitor
) -> tuple[Loaded, tuple[str, ...]]:
    """Give an emulator, in place, the head that the adapter of a job brings, if it brings one.

    Args:
        head: Of the emulator.
        train: The training data, whose labels may be the classes.

    Returns:
        The emulator with the modality of that head, and its classes; none: it brings no head.

    Raises:
        DataError: The labels of the training data make no head.
    """
    classes = classes_of(head, job, labels_in(train) if head else ())
    if not classes:
        return loaded, ()
    monitor.log(f"the adapter brings a new head of {len(classes)} classes")
    heads.renew(loaded.model, classes)
    return replace(loaded, modality=loaded.modality.with_labels(classes)), classes


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
