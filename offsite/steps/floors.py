"""The floors below which no adapter is made: how many examples, steps, and examples of a step.

An adapter of one step on one example is little else than that example's gradient, from which the
text can be rebuilt. The floors rule that out. They are no privacy guarantee: many examples may be
rebuilt from an adapter, too. The pod that trains checks them first. It runs an image that a job's
author may choose, so the pod that seals reads the data and checks them again.
"""

from offsite.api import Limits, Tune
from offsite.errors import DataError, InputError
from offsite.rows import DataFile
from offsite.steps.workspace import Workspace
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
    found = survey(data, least)
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


def check_training(limits: Limits, job: Tune, examples: int) -> None:
    """Check the steps that are made of so many examples, in the form that they are trained in.

    Raises:
        DataError: the steps are too few, or of too few examples.
    """
    training = job.training
    batch = min(training.batch_size, examples)
    if batch < limits.min_batch_size:
        raise DataError(
            f"tune.data.train: all the data is {examples} examples of blockSize "
            f"{training.block_size}, and this organization allows no step of fewer than "
            f"{limits.min_batch_size} (minBatchSize); make blockSize smaller, or add data"
        )
    steps = training.steps or training.epochs * -(-examples // training.batch_size)
    if steps < limits.min_steps:
        raise DataError(
            f"tune.training.epochs: {training.epochs} epochs are {steps} steps, and this "
            f"organization allows no fewer than {limits.min_steps} (minSteps); ask for more"
        )


def check_floors(space: Workspace, job: Tune) -> None:
    """Check, without a tokenizer, an adapter's job that is about to be sealed.

    Raises:
        InputError, DataError: as the others do; of plain text, of which nobody knows here how it
            is packed, the largest number of examples is taken.
    """
    limits = space.party.limits
    check_asked(limits, job)
    data = DataFile(space.party.text(job.data.train), job.data.train)
    found = check_examples(limits, data)
    # no token is shorter than a byte
    most = (data.path.stat().st_size + found.rows) // max(1, job.training.block_size - 1) + 1
    check_training(limits, job, found.rows if found.labelled else most)
