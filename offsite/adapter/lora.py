"""Low-rank changes (LoRA, Hu et al. 2021, arXiv 2106.09685) of the linear weights of some blocks.

The one file that speaks peft. Sent are `lora_A` (r, in) and `lora_B` (out, r) of each weight, with
LoRA's scale folded into B: the change of a weight is B A, and no scale needs to be sent or trusted.
"""

import warnings
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from offsite.families import Family, Targets
from offsite.layers import device, family, import_bitsandbytes

_SCALE = 2
"""lora_alpha = 2 rank, as peft's guides and most published recipes have it."""


class Injected:
    """LoRA layers inside a model."""

    def __init__(self, trained: dict[str, nn.Parameter]) -> None:
        self.trained: Mapping[str, nn.Parameter] = trained

    def changes(self) -> dict[str, Tensor]:
        """Get the factors as they are sent."""
        return {name: _sent(name, value.detach()) for name, value in self.trained.items()}


def _sent(name: str, value: Tensor) -> Tensor:
    return (value * _SCALE if name.endswith("lora_B") else value.clone()).contiguous()


def attach(
    model: PreTrainedModel,
    places: Sequence[int],
    *,
    rank: int,
    seed: int,
    targets: Targets = "All",
) -> Injected:
    """Put trainable factors beside the linear weights of blocks, with A ~ N(0, 1/in) and B = 0."""
    import_bitsandbytes()  # peft imports it, and not with care
    from peft import LoraConfig, inject_adapter_in_model

    row = family(model)
    wanted = row.targeted(targets)
    modules = [row.tensor_name(place, target) for place in places for target in wanted]
    config = LoraConfig(
        r=rank,
        lora_alpha=_SCALE * rank,
        target_modules=modules,
        fan_in_fan_out=row.transposed,
        init_lora_weights=False,
    )
    with warnings.catch_warnings():
        # peft warns of tied embeddings, which are no targets of ours
        warnings.simplefilter("ignore")
        inject_adapter_in_model(config, model)
    return Injected(_initialised(model, row, seed))


def _initialised(model: PreTrainedModel, row: Family, seed: int) -> dict[str, nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    trained: dict[str, nn.Parameter] = {}
    for name, parameter in [*model.named_parameters()]:
        path, found, factor = name.rpartition(".lora_")
        split = row.block_of(path)
        if not found or split is None:
            continue
        fresh = torch.zeros(parameter.shape)
        if factor.startswith("A"):
            fresh.normal_(std=parameter.shape[1] ** -0.5, generator=generator)
        # peft follows the weights: to bfloat16, and to the meta device
        made = nn.Parameter(fresh.to(device()))
        module, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(module), attribute, made)
        trained[f"blocks.{split[0]}.{split[1]}.weight.lora_{factor[0]}"] = made
    return trained


def change(parts: Mapping[str, Tensor], rows: slice, row: Family) -> Tensor:
    """Compute some rows of B A, turned as the family stores its weights."""
    a, b = parts["lora_A"], parts["lora_B"]
    return a.T[rows] @ b.T if row.transposed else b[rows] @ a
