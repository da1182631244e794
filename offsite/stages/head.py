"""The classification head of a Tune job: the model's own, or a new one."""

from dataclasses import replace

from offsite.adapter import heads
from offsite.api import Tune
from offsite.bundle.head import HeadRecord
from offsite.events import Monitor
from offsite.layers import Loaded
from offsite.rows import DataFile, labels_in
from offsite.steps.classes import classes_of


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
