"""Modules outside the blocks that are trained beside an adapter, such as a classification head.

Sent is the `change` of each of their tensors, as of whole blocks; of a new head its `value`, since
there was none before.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from offsite.adapter.blocks import Unfrozen
from offsite.bundle.head import HEAD, VALUE, head_of, named_classes
from offsite.layers import family, tensors_of


class Brought:
    """A new head that is trained."""

    def __init__(self, trained: Mapping[str, nn.Parameter]) -> None:
        self.trained = trained

    def changes(self) -> dict[str, Tensor]:
        """Get its values as they are sent."""
        return {name: value.detach().clone() for name, value in self.trained.items()}


def attach(model: PreTrainedModel, *, new: bool = False) -> Unfrozen | Brought:
    """Make the heads that the model's family names trainable, in float32: `Family.heads`.

    Args:
        new: whether `renew` put the classification head there.
    """
    row, trained = family(model), dict[str, nn.Parameter]()
    for wire, (name, _) in row.head_tensors(model.config.to_dict()).items():
        parameter = model.get_parameter(name)
        parameter.data = parameter.detach().to(torch.float32)
        parameter.requires_grad_(True)
        trained[f"{wire}.{VALUE if new else 'change'}"] = parameter
    return Brought(trained) if new else Unfrozen(trained)


def renew(model: PreTrainedModel, labels: Sequence[str]) -> None:
    """Give a model, in place, a new classification head of zeros, and its classes.

    Args:
        labels: in the order of its outputs.
    """
    record = head_of(family(model), model.config.to_dict())
    assert record is not None, "only a model whose family has a head gets a new one"
    head = nn.Linear(record.features, len(labels), device=model.device)
    for parameter in head.parameters():
        nn.init.zeros_(parameter)
    model.set_submodule(record.module, head.requires_grad_(False))
    for key, value in named_classes(labels).items():
        setattr(model.config, key, value)


def fill(model: PreTrainedModel, values: Mapping[str, Tensor]) -> None:
    """Set the numbers of a new head.

    Args:
        values: `weight` (N, F) and `bias` (N,).
    """
    head = model.get_submodule(family(model).heads[HEAD])
    with torch.no_grad():
        for name, value in values.items():
            head.get_parameter(name).copy_(value)


def bring(
    model: PreTrainedModel, labels: Sequence[str], sent: Mapping[str, Tensor], dtype: torch.dtype
) -> None:
    """Give a model, in place, the head of an adapter.

    Args:
        sent: the adapter's tensors.
        dtype: what to round to, which the model is stored in.
    """
    renew(model, labels)
    path = family(model).heads[HEAD]
    model.get_submodule(path).to(model.dtype)
    for kind in ("weight", "bias"):
        tensors_of(model)[f"{path}.{kind}"] = sent[f"{HEAD}.{kind}.{VALUE}"].to(dtype)
