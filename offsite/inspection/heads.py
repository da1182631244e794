"""A head to inspect a model with that has none, since the adapter will bring one."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from transformers import PreTrainedModel

from offsite.layers import family

_CLASSES = 16
_FEATURES = "H"
"""The dimension of what a head reads, as rows of the family table name it."""


@contextmanager
def with_head(model: PreTrainedModel) -> Iterator[None]:
    """Put a fixed random head where a model lacks one, while the `with` block runs."""
    row = family(model)
    lacking = [path for path in row.heads.values() if _is_lacking(model.get_submodule(path))]
    for path in lacking:
        model.set_submodule(path, _drawn(model, row.sizes(model.config.to_dict())[_FEATURES]))
    try:
        yield
    finally:
        for path in lacking:
            model.set_submodule(path, nn.Identity())


def _is_lacking(head: nn.Module) -> bool:
    return isinstance(head, nn.Identity)


def _drawn(model: PreTrainedModel, features: int) -> nn.Linear:
    """Draw a head whose logits have the size of the features."""
    head = nn.Linear(features, _CLASSES, bias=False)
    drawn = torch.randn(head.weight.shape, generator=torch.Generator().manual_seed(0))
    head.weight.data = drawn * features**-0.5
    return head.requires_grad_(False).to(model.device, model.dtype)
