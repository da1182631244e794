"""Clipped gradients, noise and budget of differential privacy, each against a reference."""

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from opacus.grad_sample.linear import compute_linear_norm_sample
from torch import Tensor, nn
from transformers import PreTrainedModel

from offsite.adapter import METHODS, heads
from offsite.errors import InputError, ModelError
from offsite.layers import checkpoint_gradients, example_losses
from offsite.modality import IGNORED
from offsite.modality.images.head import head_of
from offsite.privacy.budget import Mechanism, ledger_of, noise_for, spend, spent, steps_of
from offsite.privacy.gradients import Sums, add_clipped, add_clipped_in_parts, zeros
from offsite.privacy.noise import gaussian, poisson_sample
from offsite_testing.core import batch_for, each_case, loaded
from offsite_testing.tiny import tiny_model

ROWS, CLASSES = 4, ("a", "b", "c")
CPU = torch.device("cpu")


class Tuned:
    """A model with an adapter and head, and a batch of rows; one of text is scored in part only."""

    def __init__(self, model: PreTrainedModel, method: str) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        adapter = METHODS[method].attach(self.model, (0, 4), rank=3, seed=0)
        self.parameters = list(adapter.trained.values())
        if method == "LoRA":
            draw = torch.Generator().manual_seed(1)
            for parameter in self.parameters:
                parameter.data.normal_(0, 0.2, generator=draw)
        self.modality = loaded(self.model).modality
        self.batch = batch_for(self.model, rows=ROWS)
        if self.batch.by_position:
            self.batch.targets[1, :9] = IGNORED
        else:
            self._attach_head()

    def _attach_head(self) -> None:
        """Train the model's own head, or a new one where it has none."""
        new = isinstance(head_of(self.model), nn.Identity)
        if new:
            heads.renew(self.model, CLASSES)
        self.parameters += heads.attach(self.model, new=new).trained.values()
        self.batch.targets[:] = torch.arange(ROWS) % len(CLASSES)

    def losses(self, units: int) -> Tensor:
        """Compute the loss of each unit, whose rows stand together."""
        rows = example_losses(self.model, self.modality, self.batch)
        return rows.reshape(units, -1).sum(1)

    def clipped(self, units: int, bound: float) -> Sums:
        """Sum clipped gradients by one pass."""
        sums = zeros(self.parameters)
        add_clipped(sums, [self.model], lambda: self.losses(units), bound)
        return sums

    def reference(self, units: int, bound: float) -> Sums:
        """Sum clipped gradients of one unit after the other, by autograd."""
        sums = {each: torch.zeros_like(each) for each in self.parameters}
        for unit in range(units):
            gradients = torch.autograd.grad(self.losses(units)[unit], self.parameters)
            norm = torch.stack([each.norm() for each in gradients]).norm()
            for parameter, each in zip(self.parameters, gradients, strict=True):
                sums[parameter] += each * min(1.0, bound / float(norm))
        return sums


def clipped(module: nn.Module, read: Tensor) -> Sums:
    """Sum clipped gradients of a module whose output is the loss."""
    sums = zeros(module.parameters())
    add_clipped(sums, [module], lambda: module(read).flatten(1).sum(1), 1.0)
    return sums


def flat(sums: Sums) -> Tensor:
    return torch.cat([each.flatten() for each in sums.values()])


def apart(one: Sums, other: Sums) -> float:
    """Compare sums: the largest difference of a tensor, as a share of the whole."""
    whole = flat(other).norm()
    return max(float((one[key] - other[key]).norm() / whole) for key in other)


# --- gradients ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@each_case
def test_every_tensor_of_every_family_is_as_autograd_says(
    name: str, over: dict[str, Any], method: str
) -> None:
    """For units of one row and of two, some of which are clipped."""
    tuned = Tuned(tiny_model(name, **over), method)
    if (name, method) == ("beit", "Blocks"):  # the scales of its blocks are in no module of theirs
        with pytest.raises(ModelError, match=r"take tune.privacy away, or use adapter.method LoRA"):
            tuned.clipped(ROWS, 1.0)
        return
    for units, bound in ((ROWS, 1.0), (ROWS // 2, 20.0)):
        assert apart(tuned.clipped(units, bound), tuned.reference(units, bound)) < 1e-5


@pytest.mark.parametrize("name", ["llama", "opt", "gpt2", "vit", "dinov2"])
def test_gradient_checkpointing_changes_nothing(name: str) -> None:
    tuned = Tuned(tiny_model(name), "Blocks")
    plain = tuned.clipped(ROWS, 1.0)
    checkpoint_gradients(tuned.model)
    assert apart(tuned.clipped(ROWS, 1.0), plain) < 1e-6


def test_no_unit_contributes_more_than_the_bound() -> None:
    tuned, bound = Tuned(tiny_model("llama"), "LoRA"), 1e-3
    both, first = tuned.clipped(2, bound), Tuned(tiny_model("llama"), "LoRA")
    first.batch = first.batch.part(0, 2)
    assert float(flat(both).norm()) <= 2 * bound * (1 + 1e-5)
    assert flat(first.clipped(1, bound)).norm() == pytest.approx(bound, rel=1e-5)


def test_a_unit_in_parts_is_clipped_as_one() -> None:
    tuned = Tuned(tiny_model("llama"), "LoRA")
    parts: Callable[[], Iterator[Tensor]] = lambda: (tuned.losses(ROWS)[i] for i in range(ROWS))  # noqa: E731
    sums = zeros(tuned.parameters)
    loss = add_clipped_in_parts(sums, parts(), 1.0)
    assert apart(sums, tuned.clipped(1, 1.0)) < 1e-5
    assert float(loss) == pytest.approx(float(tuned.losses(1).detach()))


def test_it_leaves_nothing_in_the_model() -> None:
    tuned = Tuned(tiny_model("llama"), "Blocks")
    before = [dict(vars(module)) for module in tuned.model.modules()]
    tuned.clipped(ROWS, 1.0)
    assert [dict(vars(module)) for module in tuned.model.modules()] == before
    assert all(each.grad is None for each in tuned.model.parameters())


def test_a_unit_without_a_finite_gradient_counts_for_nothing() -> None:
    """To fail would reveal that such a unit is in the data."""
    layer, read = nn.Linear(3, 2), torch.ones(3, 5, 3)
    for value in (math.inf, math.nan):
        read[1, 2, 0] = value
        sums = zeros(layer.parameters())
        add_clipped_in_parts(sums, [layer(read[1]).sum()], 1.0)
        assert not flat(sums).any()
        assert torch.equal(flat(clipped(layer, read)), flat(clipped(layer, read[::2])))


def test_a_gradient_that_rounding_hides_from_ghost_clipping_is_clipped() -> None:
    """A hostile emulator can make the gradients of two positions of a text cancel, nearly.

    AAᵀ and BBᵀ then say that nothing is left, and the unit would be added as it is.
    """
    draw = torch.Generator().manual_seed(0)
    layer = nn.Linear(64, 48, bias=False)
    read = torch.randn(1, 1, 64, generator=draw).repeat(1, 2, 1)
    read[0, 1] += 1e-5 * torch.randn(64, generator=draw)
    slope = 1e5 * torch.randn(48, generator=draw)
    slopes = torch.stack([slope, -slope])[None]
    true = float((slopes[0].double().T @ read[0].double()).norm())
    ghost = [
        float(compute_linear_norm_sample(layer, [read * scale], slopes * scale)[layer.weight])
        for scale in torch.linspace(0.9, 1.1, 8)
    ]
    assert min(ghost) < 1 < true / 30
    sums = zeros(layer.parameters())
    add_clipped(sums, [layer], lambda: (layer(read) * slopes).sum((1, 2)), 1.0)
    assert flat(sums).norm() == pytest.approx(1.0, rel=1e-5)


def test_a_tensor_of_two_modules_is_refused() -> None:
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    both = nn.Sequential(first, second)
    with pytest.raises(ModelError, match="shared by two modules"):
        clipped(both, torch.ones(1, 4))


# --- noise -------------------------------------------------------------------------------------


def test_noise_is_gaussian() -> None:
    drawn = gaussian(torch.Size([700, 1000]), 3.0, CPU)
    unit = drawn / 3
    assert drawn.dtype == torch.float64
    assert drawn.isfinite().all()
    assert float(unit.mean()) == pytest.approx(0, abs=0.01)
    assert float(unit.std()) == pytest.approx(1, abs=0.01)
    assert float(unit.pow(4).mean()) == pytest.approx(3, abs=0.06)
    for bound, share in ((1, 0.6827), (2, 0.9545), (3, 0.9973)):
        assert float((unit.abs() < bound).double().mean()) == pytest.approx(share, abs=0.003)
    assert abs(float((unit[:, ::2] * unit[:, 1::2]).mean())) < 0.01


def test_no_seed_repeats_noise_or_samples() -> None:
    drawn = []
    for _ in range(2):
        torch.manual_seed(0)
        drawn.append((gaussian(torch.Size([50]), 1.0, CPU).tolist(), poisson_sample(400, 0.5)))
    assert not set(drawn[0][0]) & set(drawn[1][0])
    assert drawn[0][1] != drawn[1][1]


def test_each_unit_is_drawn_with_the_same_probability() -> None:
    counts = torch.zeros(100)
    sizes = []
    for _ in range(2000):
        places = poisson_sample(100, 0.07)
        counts[places] += 1
        sizes.append(float(len(places)))
    assert float(counts.mean()) / 2000 == pytest.approx(0.07, abs=0.004)
    assert float((counts / 2000 - 0.07).abs().max()) < 0.035
    # a binomial, not a fixed size
    assert float(torch.tensor(sizes).var()) == pytest.approx(100 * 0.07 * 0.93, rel=0.2)
    assert poisson_sample(5, 1.0) == [0, 1, 2, 3, 4]
    assert poisson_sample(100, 1e-12) == []


# --- budget ------------------------------------------------------------------------------------


def test_the_noise_of_an_epsilon_spends_it_and_not_more() -> None:
    noise = noise_for(2.0, 1e-5, 0.01, 200)
    found = spent(ledger_of(Mechanism(noise, 0.01), 200), 1e-5)
    assert 1.97 < found <= 2.0
    assert spent(ledger_of(Mechanism(2 * noise, 0.01), 200), 1e-5) < found


def test_without_sampling_it_is_the_gaussian_mechanism() -> None:
    """Balle and Wang 2018 (arXiv 1805.06530), theorem 8."""

    def normal(x: float) -> float:
        return math.erfc(-x / math.sqrt(2)) / 2

    steps, noise, delta = 10, 4.0, 1e-4
    epsilon = spent(ledger_of(Mechanism(noise, 1.0), steps), delta)
    mean = math.sqrt(steps) / noise
    exact = normal(mean / 2 - epsilon / mean) - math.exp(epsilon) * normal(
        -mean / 2 - epsilon / mean
    )
    assert 0.9 * delta < exact <= delta


def test_a_ledger_counts_every_step() -> None:
    ledger, mechanism = "", Mechanism(1.5, 0.02)
    for _ in range(5):
        ledger = spend(ledger, mechanism)
    assert steps_of(ledger) == 5
    assert ledger == ledger_of(mechanism, 5)
    other = spend(ledger, Mechanism(1.5, 0.5))
    assert spent(other, 1e-5) > spent(ledger, 1e-5)


def test_an_epsilon_that_no_noise_reaches_is_an_error() -> None:
    with pytest.raises(InputError, match=r"no noise reaches ε 0\.001"):
        noise_for(0.001, 1e-5, 0.01, 10)
