"""A new head starts from a linear probe on the features of the untouched model."""

import pytest
import torch
from torch import Tensor, nn

from offsite.training.probe import Features, Linear, probe


def drawn(count: int, classes: int = 3, width: int = 8, seed: int = 0) -> Features:
    """Draw features around a centre for each class, in odd units and far from zero."""
    draw = torch.Generator().manual_seed(seed)
    centres = 2 * torch.randn(classes, width, generator=torch.Generator().manual_seed(7))
    targets = torch.randint(classes, (count,), generator=draw)
    values = centres[targets] + torch.randn(count, width, generator=draw)
    return Features(1e3 + 50 * values, targets)


def accuracy(head: Linear, data: Features) -> float:
    return float((head(data.values).argmax(1) == data.targets).double().mean())


def test_it_tells_classes_apart() -> None:
    head = probe(drawn(200), drawn(200, seed=1), 3)
    assert accuracy(head, drawn(1000, seed=2)) > 0.95
    assert (tuple(head.weight.shape), tuple(head.bias.shape)) == ((3, 8), (3,))


def test_it_is_a_minimum() -> None:
    """No step from it, in the units that were scaled, makes the penalized loss smaller."""
    data = drawn(200)
    mean = data.values.mean(0)
    scale = (data.values - mean).square().mean().sqrt()
    head = probe(data, drawn(200, seed=1), 3)
    weight = (head.weight * scale).requires_grad_()
    bias = (head.bias + head.weight @ mean).requires_grad_()
    scaled = (data.values - mean) / scale
    gradients: list[Tensor] = []
    for decay in (1e-1, 1e-2, 1e-3, 1e-4):
        penalty = decay / 2 * (weight.square().sum() + bias.square().sum())
        loss = nn.functional.cross_entropy(scaled @ weight.T + bias, data.targets) + penalty
        gradients.append(
            torch.cat([g.flatten() for g in torch.autograd.grad(loss, [weight, bias])])
        )
    assert min(float(each.norm()) for each in gradients) < 1e-3


def test_the_same_data_gives_the_same_head() -> None:
    one, other = (probe(drawn(100), drawn(50, seed=1), 3) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def noise(count: int, seed: int) -> Features:
    values = torch.randn(count, 200, generator=torch.Generator().manual_seed(seed))
    return Features(values, torch.arange(count) % 2)


def test_few_examples_of_many_features_are_not_learnt_by_heart() -> None:
    """The penalty is chosen by the validation data: noise gets the strongest."""
    train, held_out = noise(20, seed=0), noise(400, seed=1)
    chosen, by_heart = probe(train, held_out, 2), probe(train, train, 2)
    loss, targets = nn.functional.cross_entropy, held_out.targets
    assert loss(chosen(held_out.values), targets) < loss(by_heart(held_out.values), targets)


@pytest.mark.parametrize("classes", [3, 5])
def test_a_class_without_examples_stays_bounded(classes: int) -> None:
    head = probe(drawn(200), drawn(50, seed=1), classes)
    assert all(each.isfinite().all() for each in head)
    assert head.weight.abs().max() < 10
    assert accuracy(head, drawn(500, seed=2)) > 0.95


def test_without_examples_it_is_zero() -> None:
    none = Features(torch.zeros(0, 8), torch.zeros(0, dtype=torch.long))
    assert not any(each.count_nonzero() for each in probe(none, none, 3))
    constant = Features(torch.ones(10, 8), torch.arange(10) % 2)
    assert all(each.isfinite().all() for each in probe(constant, none, 2))
