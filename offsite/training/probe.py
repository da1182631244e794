"""A linear probe: where a new head starts (LP-FT, Kumar et al. 2022, arXiv 2202.10054).

A head that has learnt nothing pulls the features of a good model out of shape. The probe is
multinomial logistic regression on the features of the untouched model.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from offsite.events import Monitor
from offsite.layers import Loaded, leads, pooled, total
from offsite.modality import IGNORED, Batch, Example
from offsite.training.evaluate import outcomes

_MOST = 1 << 23
"""Numbers of all features together: 64 MiB, so that memory does not grow with the data."""
_DECAYS = (1e-1, 1e-2, 1e-3, 1e-4)
"""Penalties on the squared weights that are tried, of features whose mean square is 1."""
_STEPS = 100


class Features(NamedTuple):
    """What a head reads of examples, and what it has to predict."""

    values: Tensor
    """(N, F)"""
    targets: Tensor
    """(N,)"""


class Linear(NamedTuple):
    """A linear head."""

    weight: Tensor
    """(classes, F)"""
    bias: Tensor
    """(classes,)"""

    def __call__(self, values: Tensor) -> Tensor:
        return nn.functional.linear(values, self.weight, self.bias)


def features(
    loaded: Loaded, examples: Sequence[Example], width: int, monitor: Monitor, phase: str
) -> Features:
    """Compute what a model's head reads of examples that have a target.

    Args:
        examples: of more than fit into memory, evenly spaced ones are taken.
        width: F.
    """
    weighed = [example for example in examples if example.weight]
    chosen = weighed[:: max(1, -(-len(weighed) * width // _MOST))]
    if not chosen:
        return Features(torch.zeros(0, width), torch.zeros(0, dtype=torch.long))
    found = outcomes(loaded, chosen, _read, monitor, phase)
    values, targets = found[:, :-1].float(), found[:, -1].long()
    known = targets != IGNORED
    return Features(values[known], targets[known])


def _read(model: PreTrainedModel, hidden: Tensor, batch: Batch) -> Tensor:
    """Give what the head reads, and behind it the target, (B, F + 1)."""
    return torch.cat(
        [pooled(model, hidden, batch.mask).double(), batch.targets[:, None].double()], dim=1
    )


def probe(train: Features, validation: Features, classes: int) -> Linear:
    """Fit a linear head; of several penalties, the one with the smallest validation loss is kept.

    Without training examples, it is zero. All workers get the head of the first one.
    """
    width = train.values.shape[1]
    best = Linear(torch.zeros(classes, width), torch.zeros(classes))
    if len(train.targets):
        held_out = validation if len(validation.targets) else train
        best = min(_fitted(train, classes), key=lambda head: _loss(head, held_out))
    return Linear(*(total(each if leads() else torch.zeros_like(each)) for each in best))


def _fitted(train: Features, classes: int) -> list[Linear]:
    """Fit a head for each penalty, from the strongest on; each starts from the one before."""
    mean = train.values.mean(0)
    scale = (train.values - mean).square().mean().sqrt().clamp(min=1e-6)
    scaled = Features((train.values - mean) / scale, train.targets)
    head, found = Linear(torch.zeros(classes, len(mean)), torch.zeros(classes)), list[Linear]()
    for decay in _DECAYS:
        head = _minimized(scaled, head, decay)
        weight = head.weight / scale
        found.append(Linear(weight, head.bias - weight @ mean))
    return found


def _minimized(data: Features, start: Linear, decay: float) -> Linear:
    head = Linear(*(each.clone().requires_grad_() for each in start))
    optimizer = torch.optim.LBFGS(head, max_iter=_STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        # the bias too: a class without examples would push it on and on
        penalty = sum(each.square().sum() for each in head)
        loss = nn.functional.cross_entropy(head(data.values), data.targets) + decay / 2 * penalty
        loss.backward()
        return loss

    optimizer.step(closure)
    return Linear(*(each.detach() for each in head))


def _loss(head: Linear, data: Features) -> float:
    return float(nn.functional.cross_entropy(head(data.values), data.targets))
