"""A head to inspect a model with that has none, since the adapter will bring one."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from transformers import PreTrainedModel

from offsite.bundle.head import head_of
from offsite.layers import family
from offsite.modality.images.public import HEADLESS_CLASSES


@contextmanager
def with_head(model: PreTrainedModel) -> Iterator[None]:
    """Put a fixed random head where a model lacks one, while the `with` block runs."""
    record = head_of(family(model), model.config.to_dict())
    if record is None or not isinstance(model.get_submodule(record.module), nn.Identity):
        yield
        return
    model.set_submodule(record.module, _drawn(model, record.features))
    try:
        yield
    finally:
        model.set_submodule(record.module, nn.Identity())


def _drawn(model: PreTrainedModel, features: int) -> nn.Linear:
    """Draw a head whose logits have the size of the features."""
    head = nn.Linear(features, HEADLESS_CLASSES, bias=False)
    drawn = torch.randn(head.weight.shape, generator=torch.Generator().manual_seed(0))
    head.weight.data = drawn * features**-0.5
    return head.requires_grad_(False).to(model.device, model.dtype)
