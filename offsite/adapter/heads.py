"""Modules outside the blocks that are trained beside an adapter, such as a classification head.

Sent is the `change` of each of their tensors, as of whole blocks.
"""

import torch
from torch import nn
from transformers import PreTrainedModel

from offsite.adapter.blocks import Unfrozen
from offsite.layers import family


def attach(model: PreTrainedModel) -> Unfrozen:
    """Make the heads that the model's family names trainable, in float32: `Family.heads`."""
    trained: dict[str, nn.Parameter] = {}
    for wire, (name, _) in family(model).head_tensors(model.config.to_dict()).items():
        parameter = model.get_parameter(name)
        parameter.data = parameter.detach().to(torch.float32)
        parameter.requires_grad_(True)
        trained[f"{wire}.change"] = parameter
    return Unfrozen(trained)
