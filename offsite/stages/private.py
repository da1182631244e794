"""Tunes an adapter with differential privacy, as the section `tune.privacy` of a job asks for."""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from offsite.api import Limits, Tune, sampling_rate
from offsite.bundle import PrivacyFacts
from offsite.layers import Loaded
from offsite.privacy.budget import Mechanism, ledger_of, noise_for, spent
from offsite.stages.context import Trainer
from offsite.steps.privacy import check_privacy, steps_of
from offsite.training.private import PoissonSamples, PrivateStep, Unit
from offsite.training.tune import Adapter, tune_privately


def private_adapter(
    loaded: Loaded,
    adapter: Adapter,
    job: Tune,
    units: Sequence[Unit],
    planted: Sequence[Unit],
    trainer: Trainer,
    limits: Limits,
) -> tuple[dict[str, Tensor], PrivacyFacts]:
    """Tune an adapter; returns its changes and the bound that holds for them.

    The validation data takes no part in it: the adapter of the last step is kept.

    Args:
        units: the training data.
        planted: the canaries of an audit. Each is drawn with the probability of a unit, which does
            not depend on how many there are, so that neither ε nor δ tells that.
        limits: the party's.

    Raises:
        DataError: as for the private data, and where δ is too large for the number of units.
        InputError: ε is larger than the party allows, or no noise reaches it.
        InterruptedStage: a signal came; training goes on from its checkpoint, with other noise.
    """
    privacy, training = job.privacy, job.training
    assert privacy is not None
    facts = planned(limits, job, len(units))
    trainer.monitor.log(
        f"differential privacy: ε {facts.epsilon:.2f}, δ {facts.delta:g} for each "
        f"{facts.unit}; {facts.steps} steps at the sampling rate {facts.sampling_rate:g} with the "
        f"noise multiplier {facts.noise_multiplier:.3f}"
    )
    mechanism = Mechanism(facts.noise_multiplier, facts.sampling_rate)
    collate, size = loaded.modality.collate, training.batch_size
    step = PrivateStep(mechanism, privacy.max_grad_norm, size, collate, training.accumulate)
    samples = PoissonSamples([*units, *planted], collate, facts.sampling_rate, trainer.seed)
    run = replace(trainer.run(training, facts.steps), step=step)
    changes, ledger = tune_privately(loaded, adapter, samples, run)
    epsilon = spent(ledger, facts.delta, about=privacy.epsilon)
    return changes, facts.model_copy(update={"epsilon": epsilon})


def planned(limits: Limits, job: Tune, units: int) -> PrivacyFacts:
    """Compute the noise of a job, and the ε of its run, before it trains.

    Args:
        units: number of units in the training data.

    Raises:
        DataError, InputError: as `private_adapter`.
    """
    privacy = job.privacy
    assert privacy is not None
    rate, steps = sampling_rate(job.training.batch_size, units), steps_of(limits, job, units)
    delta = privacy.delta_of(units)
    noise = privacy.noise_multiplier
    if privacy.epsilon is not None:
        # checked first: the noise for an ε that is not allowed need not be computed
        check_privacy(limits, privacy, units, privacy.epsilon)
        noise = noise_for(privacy.epsilon, delta, rate, steps)
    assert noise is not None
    ledger = ledger_of(Mechanism(noise, rate), steps)
    epsilon = spent(ledger, delta, about=privacy.epsilon)
    check_privacy(limits, privacy, units, epsilon)
    return PrivacyFacts(
        epsilon=epsilon,
        delta=delta,
        noise_multiplier=noise,
        max_grad_norm=privacy.max_grad_norm,
        unit=privacy.unit_name,
        sampling_rate=rate,
        steps=steps,
    )
