"""The classifier of a vision model: what it reads of the hidden states, and its module."""

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from offsite.families import Family, family_of


def pooled(model: PreTrainedModel, hidden: Tensor, mask: Tensor | None = None) -> Tensor:
    """Compute what the classifier reads of the hidden states of each image, (B, F).

    Args:
        hidden: of the last layer, (B, T, D).
        mask: (B, T), where there is a patch, if some positions are padding.
    """
    found = _pooled(model, hidden, mask)
    norm = _row(model).pooling_norm
    if norm is None:
        return found
    normalized: Tensor = model.get_submodule(norm)(found)
    return normalized


def _pooled(model: PreTrainedModel, hidden: Tensor, mask: Tensor | None) -> Tensor:
    row = _row(model)
    first = row.prefix_tokens(row.complete(model.config.to_dict()))
    match row.pooling:
        case "first":
            return hidden[:, 0]
        case "patches":
            return hidden[:, first:].mean(dim=1)
        case "first+patches":
            return torch.cat([hidden[:, 0], hidden[:, first:].mean(dim=1)], dim=1)
        case "all":
            return _mean(hidden, mask)
    raise ValueError(f"{row.architecture} has no classifier")


def head_of(model: PreTrainedModel) -> nn.Module:
    """Get the classifier of a vision model: an `nn.Identity` if it has none."""
    return model.get_submodule(_row(model).heads["head"])


def _mean(hidden: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return hidden.mean(dim=1)
    there = mask[..., None].to(hidden.dtype)
    return (hidden * there).sum(dim=1) / there.sum(dim=1)


def _row(model: PreTrainedModel) -> Family:
    return family_of(model.config.to_dict())
