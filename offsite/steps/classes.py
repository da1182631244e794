"""Decides which classification head an adapter has: the model's own, or a new one."""

from collections.abc import Collection, Sequence

from offsite.api import JobSpec, Tune
from offsite.bundle import EmulatorRecord, HeadRecord
from offsite.errors import DataError, InputError
from offsite.labels import labels_problem


def check_head(record: EmulatorRecord, spec: JobSpec, job: Tune) -> None:
    """Check, before private data is read, that an emulator can have the head that a job asks for.

    Args:
        record: Of the emulator that was opened.

    Raises:
        InputError: It cannot.
    """
    head, asked = record.head, job.adapter.head
    if head is None:
        if asked is not None:
            raise InputError(
                f"tune.adapter.head is set, but {record.bundle} ({record.architecture}) is a model "
                "without classes, which has no classification head; remove tune.adapter.head"
            )
        return
    if asked is not None and len(asked.labels) > head.max_labels:
        raise InputError(
            f"tune.adapter.head.labels names {len(asked.labels)} classes, but the peer accepts at "
            f"most {head.max_labels}; name fewer"
        )
    if job.privacy is not None and asked is None and not head.labels:
        raise InputError(
            f"{record.bundle} has no classification head, so the adapter brings one, whose classes "
            "would reveal which labels are in data.train: with tune.privacy, name all classes that "
            "there can be in tune.adapter.head.labels"
        )
    if spec.resources.workers > 1 and spec.resources.sharding == "FSDP":
        raise InputError(
            f"{record.bundle} has a classification head, which FSDP cannot train, since it shards "
            "the blocks alone; set spec.resources.sharding to DDP"
        )


def classes_of(head: HeadRecord | None, job: Tune, labels: Collection[str]) -> tuple[str, ...]:
    """Choose the classes of the new head that an adapter brings; none: it brings no head.

    With differential privacy, the data decides nothing: a label may be that of one unit alone.

    Args:
        head: Of the emulator.
        labels: The labels in the training data.

    Raises:
        DataError: They make no head.
    """
    if head is None:
        return ()
    if job.adapter.head is not None:
        asked = tuple(job.adapter.head.labels)
        return () if asked == head.labels else asked
    if head.labels and (job.privacy is not None or set(labels) <= set(head.labels)):
        return ()
    return _new(sorted(labels), head.max_labels)


def _new(labels: Sequence[str], most: int) -> tuple[str, ...]:
    problem = labels_problem(labels)
    if problem is None and len(labels) > most:
        problem = f"are {len(labels)}, and the peer accepts at most {most}"
    if problem is not None:
        raise DataError(
            f"tune.data.train: the labels, which are the classes of a new head, {problem}; correct "
            "them, or name the classes in tune.adapter.head.labels"
        )
    return tuple(labels)
