"""Intervals hold what they say, and a paired one is narrower than two of its own."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from offsite.modality import Benchmark
from offsite.modality.images.scoring import Classification
from offsite.modality.text.examples import TextExample
from offsite.modality.text.scoring import Choices, Perplexity
from offsite.modality.uncertainty import Skill, mean_interval


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def text(*weights: int) -> Perplexity:
    return Perplexity(tuple(TextExample(tuple(range(weight + 1))) for weight in weights))


def questions(count: int) -> Choices:
    return Choices((), counts=(2,) * count, answers=(0,) * count)


def answered(right: Sequence[bool]) -> Tensor:
    """Make the outcomes of questions with two choices, of which the first is right."""
    return torch.tensor([loss for each in right for loss in (0.0, 1.0 if each else -1.0)])


def test_the_interval_of_a_perplexity_covers_the_truth(rng: np.random.Generator) -> None:
    """In about 95 of 100 cases; texts of different lengths, with 2 nats per token on average."""
    covered = 0
    for _ in range(120):
        weights = rng.integers(5, 60, 120)
        losses = weights * rng.gamma(4, 0.5, 120)
        (score,) = text(*weights.tolist()).scores(torch.tensor(losses))
        assert score.interval is not None
        low, high = score.interval
        assert low < score.value < high
        covered += low <= math.exp(2) <= high
    assert 108 <= covered <= 119


def test_the_gain_of_a_perplexity_is_in_nats_per_token() -> None:
    bench, before = text(1, 3), torch.tensor([2.0, 10.0], dtype=torch.float64)
    (first,), (second,) = bench.scores(before), bench.scores(before / 2)
    gain = bench.compare(before, before / 2)
    assert gain.metric == "perplexity"
    assert gain.value == pytest.approx(math.log(first.value / second.value))
    assert gain.value == pytest.approx(12 / 4 / 2)
    assert bench.compare(before / 2, before).value == -gain.value


def test_a_paired_interval_is_narrower_than_those_of_the_models(rng: np.random.Generator) -> None:
    """Texts differ much in how hard they are, and little in what was gained on them."""
    losses = torch.tensor(rng.gamma(2, 50, 60))
    bench, after = text(*[40] * 60), losses - torch.tensor(rng.normal(4, 1, 60))
    gain = bench.compare(losses, after)
    (before,) = bench.scores(losses)
    assert gain.interval is not None
    assert before.interval is not None
    width = gain.interval[1] - gain.interval[0]
    assert gain.interval[0] < 0.1 < gain.interval[1]
    assert width < 0.2 * math.log(before.interval[1] / before.interval[0])


def test_the_gain_of_an_accuracy_is_the_difference() -> None:
    before, after = [True] * 10 + [False] * 30, [False] * 2 + [True] * 28 + [False] * 10
    gain = questions(40).compare(answered(before), answered(after))
    assert gain.metric == "accuracy"
    assert gain.value == pytest.approx(0.45)
    # Newcombe 1998: 20 pairs became right, 2 wrong; Wald's interval is .45 ± .176
    assert gain.interval == pytest.approx((0.274, 0.626), abs=0.03)


def test_images_are_compared_by_their_accuracy() -> None:
    bench = Classification((), ("cat", "dog"))
    before, after = (torch.tensor([[rank, 0.5] for rank in ranks]) for ranks in ([0, 1], [0, 0]))
    gain = bench.compare(before, after)
    assert (gain.metric, gain.value) == ("accuracy", 0.5)


def shares(rng: np.random.Generator) -> tuple[Benchmark, list[Tensor]]:
    losses = torch.tensor(rng.gamma(20, 5, 80))
    gains = torch.tensor(rng.normal(20, 5, 80))
    return text(*[40] * 80), [losses, losses - 0.6 * gains, losses - gains]


def test_a_share_of_the_gain_has_its_paired_interval(rng: np.random.Generator) -> None:
    bench, outcomes = shares(rng)
    found = bench.share(*outcomes)
    assert found is not None
    assert found.value == pytest.approx(0.6)
    start, _, best = outcomes
    noisy = best + torch.tensor(rng.normal(0, 4, 80))
    found = bench.share(start, noisy, best)
    assert found is not None
    assert found.interval is not None
    assert found.interval[0] < 1.0 < found.interval[1]


def test_a_share_of_no_gain_is_none(rng: np.random.Generator) -> None:
    bench, (start, plug, best) = shares(rng)
    assert bench.share(best, plug, start) is None
    assert bench.share(start, plug, start) is None


def test_a_share_of_a_gain_that_may_be_none_has_no_interval(rng: np.random.Generator) -> None:
    bench, (start, plug, _) = shares(rng)
    hardly = start - torch.tensor(rng.normal(0.5, 20, 80)).abs() * torch.tensor([1.0, -0.9] * 40)
    found = bench.share(start, plug, hardly)
    assert found is None or found.interval is None


@pytest.mark.parametrize("outcomes", [[3.0], [2.0, 2.0, 2.0], [1.0, math.nan], [1.0, math.inf]])
def test_what_resampling_cannot_tell_has_no_interval(outcomes: list[float]) -> None:
    (score,) = text(*[1] * len(outcomes)).scores(torch.tensor(outcomes))
    assert score.interval is None
    start = torch.zeros(len(outcomes))
    assert text(*[1] * len(outcomes)).compare(start, torch.tensor(outcomes)).interval is None


def test_examples_without_a_token_to_predict_count_for_nothing() -> None:
    (score,) = text(0, 0).scores(torch.zeros(2))
    assert (score.value, score.interval) == (1.0, None)


def test_an_interval_is_always_the_same(rng: np.random.Generator) -> None:
    skill = Skill("accuracy", rng.random(30), np.ones(30))
    assert mean_interval(skill) == mean_interval(skill)
