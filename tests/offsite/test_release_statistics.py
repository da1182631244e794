"""The statistics of an audit: how well members are told from others, and what canaries prove."""

import math
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from numpy.typing import NDArray

from offsite.release.canaries import coins, generator
from offsite.release.statistics import (
    auc,
    epsilon_bound,
    largest_bound,
    roc,
    tpr_at_1_percent_fpr,
)
from offsite_testing.core import loaded as loaded_of
from offsite_testing.core import text_of
from offsite_testing.tiny import tiny_model

DRAW = np.random.default_rng(1)


def normal(mean: float, count: int) -> NDArray[np.float64]:
    return DRAW.normal(mean, 1.0, count)


def test_the_auc_is_that_of_the_normal_distributions() -> None:
    """Of two normal distributions at a distance of 1 it is Φ(1/√2), which is 0.760."""
    found = auc(normal(1.0, 2000), normal(0.0, 2000))
    assert found.value == pytest.approx(0.760, abs=0.02)
    assert found.low < 0.760 < found.high
    assert found.high - found.low == pytest.approx(4 * 0.0074, rel=0.2)
    assert auc(np.zeros(50), np.zeros(50)).value == 0.5
    few = auc(np.ones(1), np.zeros(3))
    assert (few.value, few.low, few.high) == (1.0, 0.0, 1.0)


def test_the_tpr_is_taken_where_one_percent_of_the_others_are_above() -> None:
    others = np.arange(200, dtype=np.float64)  # two of them may be above
    members = np.array([196.5, 197.5, 198.5, 300.0])
    found = tpr_at_1_percent_fpr(members, others)
    assert found.value == 0.75
    assert found.low == pytest.approx(0.194, abs=1e-3)
    assert found.high == pytest.approx(0.994, abs=1e-3)
    few = tpr_at_1_percent_fpr(members, others[:198])  # one of them may be
    assert few.value == 1.0
    assert tpr_at_1_percent_fpr(members, np.append(others[:50], 200.0)).value == 0.25


def test_the_curve_has_the_rates_at_each_threshold() -> None:
    assert roc(np.array([1.5, 2.5]), np.array([1.0, 2.0])) == ((0.0, 0.5), (0.5, 1.0), (1.0, 1.0))
    assert roc(np.zeros(3), np.zeros(2)) == ((0.0, 0.0), (0.5, 0.0), (1.0, 1.0))


def test_a_long_curve_is_thinned_where_it_matters_least() -> None:
    members, others = normal(1.0, 3000), normal(0.0, 5000)
    curve = roc(members, others)
    assert len(curve) <= 200
    assert curve[1][0] == 1 / 5000
    assert curve[-1] == (1.0, 1.0)
    rates = dict(curve)
    near = min(rates, key=lambda rate: abs(rate - 0.01))
    assert rates[near] == pytest.approx(tpr_at_1_percent_fpr(members, others).value, abs=0.02)
    area = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(curve))
    assert area == pytest.approx(auc(members, others).value, abs=0.005)


def responses(epsilon: float, count: int) -> tuple[NDArray[np.float64], list[bool]]:
    """Answer for each coin as ε-private randomized response does, which is the worst case of ε."""
    truth = DRAW.random(count) < 0.5
    honest = DRAW.random(count) < 1 / (1 + math.exp(-epsilon))
    return np.where(honest, truth, ~truth) + 0.1 * DRAW.random(count), truth.tolist()


@pytest.mark.parametrize("epsilon", [0.0, 1.0, 3.0])
def test_the_bound_on_epsilon_holds_and_is_not_far_off(epsilon: float) -> None:
    bounds = [epsilon_bound(*responses(epsilon, 1000), 0.0) for _ in range(60)]
    assert sum(bound > epsilon for bound in bounds) <= 7, "3 are allowed, on average"
    assert np.median(bounds) >= 0.7 * epsilon


def test_what_a_number_of_canaries_can_show_has_an_end() -> None:
    assert largest_bound(200, 0.0) == pytest.approx(3.81, abs=0.01)
    assert largest_bound(1000, 0.0) == pytest.approx(5.43, abs=0.01)
    assert largest_bound(200, 1e-3) < largest_bound(200, 1e-5) < largest_bound(200, 0.0)


def test_coins_are_fair_and_come_of_the_secret_alone() -> None:
    tossed = coins(10_000, generator("secret"))
    assert abs(sum(tossed) - 5000) < 200
    assert tossed == coins(10_000, generator("secret"))
    assert tossed != coins(10_000, generator("another"))


@pytest.mark.parametrize("name", ["llama", "gemma", "gpt2"])
def test_canaries_are_of_the_model_s_own_tokens(name: str) -> None:
    text = text_of(loaded_of(tiny_model(name, vocab_size=288)))
    made = text.canaries(50, 20, Random(1))
    assert {example.size for example in made} == {20}
    tokens = {token for example in made for token in example.tokens}
    assert tokens <= set(range(288))
    assert len(tokens) > 250, "they are of all tokens, unused ones too"
    assert len({example.tokens for example in made}) == 50
    assert text.canaries(1, 10**6, Random(1))[0].size == text.context
    assert text.canaries(1, 1, Random(1))[0].weight == 1
