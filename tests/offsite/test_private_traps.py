"""Differential privacy against emulators that are built to memorize, with inspection switched off.

A decoder that takes its best guess for each row of an adapter is right about as often on the data
that the adapter was tuned on as on other data of the same kind.
"""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from offsite.layers import Loaded
from offsite.modality.text.examples import TextExample, pack
from offsite.privacy.budget import Mechanism, noise_for
from offsite.training.checkpoints import Checkpoints
from offsite.training.data import Shuffled
from offsite.training.private import PoissonSamples, PrivateStep
from offsite.training.run import Plan, Run
from offsite.training.tune import Adapter, tune, tune_privately
from offsite_testing.core import silent, text_of
from offsite_testing.traps import Trap, decoded, make_trap

UNITS, BATCH, STEPS = 64, 16, 8
PLAN = Plan(steps=STEPS, learning_rate=1e-3, seed=0)
Units = Sequence[Sequence[TextExample]]


def private_units(model: Loaded, seed: int) -> Units:
    """Make records with PINs, each a unit."""
    draw = random.Random(seed)
    names = ("Anna", "Bela", "Cyril", "Dora", "Emil")
    rows = [f"{draw.choice(names)} pin {draw.randint(0, 999_999):06}" for _ in range(UNITS)]
    return [pack([row], text_of(model).tokenizer, 32) for row in rows]


def read(units: Units) -> set[tuple[int, ...]]:
    """List every three tokens in a row."""
    every = [example.tokens for unit in units for example in unit]
    return {each for t in every for each in zip(t, t[1:], t[2:], strict=False)}


def plain(trap: Trap, units: Units, folder: Path) -> set[tuple[int, int, int]]:
    model = make_trap(trap)
    examples = [example for unit in units for example in unit]
    run = Run(PLAN, Checkpoints(folder / "plain"), silent())
    batches = Shuffled(examples, model.modality.collate, BATCH, seed=0)
    return decoded(trap, tune(model, Adapter("LoRA", 16, (trap.block,)), batches, examples, run))


def private(trap: Trap, units: Units, folder: Path, epsilon: float) -> set[tuple[int, int, int]]:
    model, rate = make_trap(trap), BATCH / UNITS
    noise = noise_for(epsilon, 1 / (10 * UNITS), rate, STEPS)
    step = PrivateStep(Mechanism(noise, rate), 1.0, BATCH, model.modality.collate)
    run = Run(PLAN, Checkpoints(folder / "private"), silent(), step)
    samples = PoissonSamples(units, model.modality.collate, rate, 0)
    return decoded(trap, tune_privately(model, Adapter("LoRA", 16, (trap.block,)), samples, run)[0])


def test_at_epsilon_8_the_decoder_finds_no_more_than_chance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = Trap()
    units, others = (private_units(make_trap(trap), seed) for seed in (1, 2))
    own, other = read(units) - read(others), read(others) - read(units)
    sure = plain(trap, units, tmp_path)
    assert len(sure & own) > 50
    assert not sure & other
    monkeypatch.setattr("offsite_testing.traps._SURE", -1.0)  # the best guess of every row
    guesses = private(trap, units, tmp_path, epsilon=8.0)
    assert len(guesses) > 500
    assert len(guesses & own) <= len(guesses & other) + 5
