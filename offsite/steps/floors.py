"""The floors of an adapter: minimum numbers of examples, of steps, and of examples in a step.

An adapter of one step on one example is little else than that example's gradient, from which the
text can be rebuilt. The floors rule that out. They are no privacy guarantee: many examples may be
rebuilt from an adapter, too. The pod that trains checks them first. It runs an image that a job's
author may choose, so the pod that seals reads the data and checks them again.

All is counted on the text. The tokenizer is the peer's: were its tokens counted, the peer would
decide on which words a job fails, and so learn of them.
"""

from offsite.api import Limits, Tune
from offsite.errors import DataError, InputError
from offsite.rows import DataFile
from offsite.survey import Survey, survey


def check_asked(limits: Limits, job: Tune) -> None:
    """Check what a job asks for, before anything is read.

    Raises:
        InputError: it asks for fewer steps, or a smaller batch, than the party allows.
    """
    if (problem := limits.objection(job)) is not None:
        raise InputError(problem)


def check_examples(limits: Limits, data: DataFile) -> Survey:
    """Check how many different examples a data set has.

    Raises:
        DataError: there are too few, or one of them makes most of it.
    """
    least = limits.min_examples
    found = survey(data, max(least, limits.min_batch_size))
    if found.different < least:
        raise DataError(
            f"{data.name} has {found.different} different examples, and this organization allows "
            f"no adapter of fewer than {least} (minExamples); copies do not count: add examples"
        )
    if least > 1 and found.largest:
        raise DataError(
            f"one example makes {found.largest:.0%} of {data.name}, with its copies, and an "
            "adapter would be of that one (minExamples): split it, or take copies out"
        )
    return found


def check_training(limits: Limits, job: Tune, found: Survey) -> None:
    """Check the steps that a job makes of a data set.

    A row with a prompt is an example. Plain text is packed into blocks by the peer's tokenizer,
    into as many as a batch has or more, and trained on for `minSteps` or more: nothing of that
    can fall below a floor.

    Args:
        found: what was counted of the data.

    Raises:
        DataError: the steps are too few, or of too few examples.
    """
    training = job.training
    if min(training.batch_size, found.different) < limits.min_batch_size:
        raise DataError(
            f"tune.data.train has {found.different} different examples, and this organization "
            f"allows no step of fewer than {limits.min_batch_size} (minBatchSize); add data"
        )
    steps = training.steps or training.epochs * -(-found.rows // training.batch_size)
    if found.labelled and steps < limits.min_steps:
        raise DataError(
            f"tune.training.epochs: {training.epochs} epochs are {steps} steps, and this "
            f"organization allows no fewer than {limits.min_steps} (minSteps); ask for more"
        )


def check_floors(limits: Limits, job: Tune, data: DataFile) -> None:
    """Check the job of an adapter, and the data that it is of.

    Raises:
        InputError, DataError: as the others do.
    """
    check_asked(limits, job)
    check_training(limits, job, check_examples(limits, data))
