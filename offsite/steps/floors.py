"""Enforces minimum numbers of examples, steps, and examples per step for an adapter.

An adapter trained for one step on one example is essentially that example's gradient, from which
the text can be reconstructed. The floors rule this out. They are not a privacy guarantee: many
examples can be reconstructed from an adapter, too. The training pod checks the floors first. A
job's author may choose its image, so the sealing pod reads the data and checks them again.

The counts are based on the text or the images, not on tokens. The tokenizer comes from the peer,
who could otherwise choose on which words a job fails, and learn from it.
"""

from offsite.api import Limits, Tune
from offsite.errors import DataError, InputError
from offsite.rows import DataFile, holds_images, labels_in
from offsite.steps.privacy import check_delta
from offsite.survey import Survey, survey


def check_asked(limits: Limits, job: Tune) -> None:
    """Check a job's spec before anything is read.

    Raises:
        InputError: It requests fewer steps or a smaller batch than the party allows.
    """
    if (problem := limits.objection(job)) is not None:
        raise InputError(problem)


def check_examples(limits: Limits, data: DataFile) -> Survey:
    """Check the number of different examples in a data set.

    Raises:
        DataError: There are too few, or one of them makes up most of the data.
    """
    least = limits.min_examples
    found = survey(data, max(least, limits.min_batch_size))
    if found.different < least:
        raise DataError(
            f"{data.name} has {found.different} different examples; this organization requires "
            f"at least {least} (minExamples), not counting copies; add examples"
        )
    if least > 1 and found.largest:
        raise DataError(
            f"one example, with its copies, makes up {found.largest:.0%} of {data.name}, so the "
            "adapter would reveal it (minExamples); split it, or remove copies"
        )
    if least > 1 and found.alone is not None:
        raise DataError(
            f"{data.name} has a single image of the class {found.alone!r}, not counting copies, so "
            "the adapter would reveal it (minExamples); add images of that class, or remove it"
        )
    return found


def check_labels(job: Tune, train: DataFile, validation: DataFile) -> None:
    """Check that images to validate on have no label that those to train on lack.

    Raises:
        DataError: One has, or those to train on have no labels. Text has none, and needs none.
    """
    if not holds_images(train):
        return
    known = labels_in(train)
    if not known:
        raise DataError(
            f"{train.name} has images without labels; put each into the subfolder of its class, or "
            "add the column label"
        )
    if job.adapter.head is not None:
        known |= frozenset(job.adapter.head.labels)
    if lacking := sorted(labels_in(validation) - known):
        more = f", and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        raise DataError(
            f"{validation.name} has the label {lacking[0]!r}{more}, which {train.name} lacks; add "
            "images of that class to train on, or remove it"
        )


def check_training(limits: Limits, job: Tune, found: Survey) -> None:
    """Check the number and size of the training steps.

    A row with a prompt is an example, and an image is one. Plain text is packed by the peer's
    tokenizer into at least as many blocks as a batch has, and trained for at least `minSteps`, so
    it cannot fall below a floor.

    Args:
        found: Counts of the data.

    Raises:
        DataError: There are too few steps, too few examples per step, or too many units for δ.
    """
    training = job.training
    if min(training.batch_size, found.different) < limits.min_batch_size:
        raise DataError(
            f"tune.data.train has {found.different} different examples; this organization "
            f"requires at least {limits.min_batch_size} per step (minBatchSize); add examples"
        )
    steps = training.steps or training.epochs * -(-found.units // training.batch_size)
    if (found.labelled or job.privacy) and steps < limits.min_steps:
        raise DataError(
            f"tune.training.epochs: {training.epochs} epochs are {steps} steps; this "
            f"organization requires at least {limits.min_steps} (minSteps); raise it"
        )
    if job.privacy is not None:
        check_delta(job.privacy, found.units)


def check_floors(limits: Limits, job: Tune, data: DataFile) -> Survey:
    """Check an adapter's job and its data; returns the counts of the data.

    Raises:
        InputError, DataError: As for the single checks.
    """
    check_asked(limits, job)
    found = check_examples(limits, data)
    check_training(limits, job, found)
    return found
