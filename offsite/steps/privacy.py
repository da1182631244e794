"""Checks the privacy that a job asks for, and the report about its adapter.

The training step computes ε and adds the noise. The step that seals the adapter has neither torch
nor an accountant: it checks that what the training step reported is what the job asks for, is
within the party's limits, and was computed for the data as it is.
"""

from offsite.api import Limits, Privacy, Tune, sampling_rate
from offsite.bundle import PrivacyFacts
from offsite.errors import BundleError, DataError, InputError


def check_privacy(limits: Limits, privacy: Privacy, units: int, epsilon: float) -> None:
    """Check ε and δ of a job's data, before training.

    Args:
        units: Number of units in the training data.
        epsilon: Bound that was computed for the noise, the sampling rate and the steps.

    Raises:
        DataError: As `check_delta`.
        InputError: ε or δ is larger than the party allows.
    """
    check_delta(privacy, units)
    delta = privacy.delta_of(units)
    if (problem := limits.privacy.excess(epsilon, delta)) is not None:
        raise InputError(problem)


def check_delta(privacy: Privacy, units: int) -> None:
    """Check δ of a job's data, which needs no accountant.

    Args:
        units: Number of units in the training data.

    Raises:
        DataError: δ is not below 1 / units: adapters that reveal one unit in full would satisfy it.
    """
    delta = privacy.delta_of(units)
    if delta * units >= 1:
        raise DataError(
            f"tune.privacy.delta is {delta:g}, but must be below 1 / {units}, as there are {units} "
            "units in tune.data.train; lower it, or leave it out"
        )


def steps_of(limits: Limits, job: Tune, units: int) -> int:
    """Compute how many steps a job with differential privacy is trained for.

    Args:
        units: Number of units in the training data.
    """
    training = job.training
    per_epoch = -(-units // training.batch_size)
    return training.steps or max(limits.min_steps, training.epochs * per_epoch)


def check_facts(limits: Limits, job: Tune, reported: PrivacyFacts | None, units: int) -> None:
    """Check what a manifest tells of an adapter's privacy against its job and its data.

    Args:
        units: Number of units in the training data.

    Raises:
        BundleError: It is not what the job asks for.
        DataError, InputError: As `check_privacy`.
    """
    privacy = job.privacy
    if (privacy is None) != (reported is None):
        raise _different("privacy")
    if privacy is None or reported is None:
        return
    check_privacy(limits, privacy, units, reported.epsilon)
    expected = {
        "unit": privacy.unit_name,
        "delta": privacy.delta_of(units),
        "max_grad_norm": privacy.max_grad_norm,
        "sampling_rate": sampling_rate(job.training.batch_size, units),
        "steps": steps_of(limits, job, units),
    }
    if privacy.noise_multiplier is not None:
        expected["noise_multiplier"] = privacy.noise_multiplier
    for name, value in expected.items():
        if getattr(reported, name) != value:
            raise _different(name)
    if privacy.epsilon is not None and reported.epsilon > privacy.epsilon:
        raise _different("epsilon")


def _different(name: str) -> BundleError:
    return BundleError(
        f"the {name} in the adapter's manifest is not what the job asks for; check the image that "
        "made it, or run the job again if its data changed"
    )
