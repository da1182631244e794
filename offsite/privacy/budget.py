"""The privacy budget: how much noise a run needs, and which ε its steps have spent.

All figures are those of Opacus' PRV accountant (Gopi et al. 2021, arXiv 2106.02848) for the
Poisson-subsampled Gaussian mechanism, and are upper bounds. Opacus is imported on use: that takes
seconds, and most runs are without it.
"""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from offsite.errors import InputError


@dataclass(frozen=True)
class Mechanism:
    """One step of DP-SGD."""

    noise_multiplier: float
    """Standard deviation of the noise, divided by the largest norm of a unit's gradient."""
    sampling_rate: float
    """The probability with which a step draws a unit."""


def noise_for(epsilon: float, delta: float, sampling_rate: float, steps: int) -> float:
    """Compute the noise multiplier with which a run of `steps` spends at most `epsilon`.

    Raises:
        InputError: no noise is large enough.
    """
    from opacus.accountants.utils import get_noise_multiplier

    try:
        with _quiet():
            noise = get_noise_multiplier(
                target_epsilon=epsilon,
                target_delta=delta,
                sample_rate=sampling_rate,
                steps=steps,
                accountant="prv",
                epsilon_tolerance=_error(epsilon),
                eps_error=_error(epsilon),
            )
    except ValueError as error:
        raise InputError(
            f"no noise reaches ε {epsilon:g} in {steps} steps at the sampling rate "
            f"{sampling_rate:g}; raise tune.privacy.epsilon or lower tune.training.epochs"
        ) from error
    return float(noise)


def ledger_of(mechanism: Mechanism, steps: int) -> str:
    """Make the ledger of a run before it starts."""
    history = [(mechanism.noise_multiplier, mechanism.sampling_rate, steps)]
    return _written(_accountant("", history))


def spend(ledger: str, mechanism: Mechanism) -> str:
    """Record one more step.

    Args:
        ledger: The accountant's state as JSON; empty before the first step.
    """
    accountant = _accountant(ledger)
    accountant.step(
        noise_multiplier=mechanism.noise_multiplier, sample_rate=mechanism.sampling_rate
    )
    return _written(accountant)


def spent(ledger: str, delta: float, *, about: float | None = None) -> float:
    """Compute the ε that all steps of a ledger spent together, as an upper bound.

    Args:
        about: The ε that the noise was chosen for, to be as exact as `noise_for` was.
    """
    accountant = _accountant(ledger)
    with _quiet():
        about = about or float(accountant.get_epsilon(delta, eps_error=1.0))
        return float(accountant.get_epsilon(delta, eps_error=_error(about)))


def steps_of(ledger: str) -> int:
    """Count the steps of a ledger."""
    return sum(steps for _, _, steps in _accountant(ledger).history)


def _error(epsilon: float) -> float:
    """Choose the accountant's error in ε; time and memory are its inverse."""
    return 0.01 if epsilon <= 10 else epsilon / 100


def _accountant(ledger: str, history: Any = ()) -> Any:
    from opacus.accountants import PRVAccountant

    accountant = PRVAccountant()
    if ledger:
        accountant.load_state_dict(json.loads(ledger))
    accountant.history = [tuple(entry) for entry in [*accountant.history, *history]]
    return accountant


def _written(accountant: Any) -> str:
    return json.dumps(accountant.state_dict())


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep warnings back that the accountant expects: log(0), and a domain larger than needed."""
    with warnings.catch_warnings(), np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        warnings.simplefilter("ignore", UserWarning)
        yield
