"""The recovery attack: train what was received on public data, without a teacher."""

import copy
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import nn

from offsite.adapter import heads, lora
from offsite.bundle.record import largest_rank
from offsite.events import Monitor
from offsite.layers import Loaded, batch_loss, blocks, family, freeze
from offsite.recovery.corpus import Corpus
from offsite.release.capability import How
from offsite.training.checkpoints import Unsaved
from offsite.training.data import Shuffled
from offsite.training.evaluate import mean_loss
from offsite.training.parallel import Objective, Sharding
from offsite.training.run import Plan, Run
from offsite.training.train import fit

_RATES: dict[How, float] = {"LoRA": 1e-3, "Middle": 3e-4, "All": 3e-4}
_RANK = 16
_VALIDATIONS = 8
"""How often the validation loss is looked at during an attack."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What an attacker spends on each attack."""

    steps: int = 200
    batch_size: int = 16
    """Examples per step."""
    block_size: int = 128
    """Tokens of an example of text."""
    seed: int = 0
    sharding: Sharding = "DDP"


def recover(
    emulator: Loaded,
    middle: Collection[int],
    corpus: Corpus,
    how: How,
    budget: Budget,
    monitor: Monitor,
) -> Loaded:
    """Train a copy of an emulator to predict public data; the step that validates best is kept.

    An interrupted attack begins anew.

    Args:
        emulator: what the attacker holds; it does not change.
        middle: the places of its blocks that are not the full model's own.
        corpus: examples of the emulator's modality.

    Returns:
        the recovered model; of `Nothing`, the emulator itself.

    Raises:
        InterruptedStage: a signal asked to stop.
        DataError: the loss is not finite.
    """
    if how == "Nothing":
        return emulator
    made = replace(emulator, model=freeze(copy.deepcopy(emulator.model)))
    trained = _trainable(made, middle, how, budget)
    plan = Plan(
        steps=budget.steps,
        learning_rate=_RATES[how],
        seed=budget.seed,
        validate_every=max(1, budget.steps // _VALIDATIONS),
        sharding=budget.sharding,
    )
    fit(
        Objective((made.model,), trained, partial(batch_loss, made.model, made.modality)),
        Shuffled(corpus.train, made.modality.collate, budget.batch_size, budget.seed),
        Run(plan, Unsaved(), monitor),
        phase=f"recover: {how}",
        validate=lambda: mean_loss(made, corpus.validation, monitor),
    )
    freeze(made.model)
    return made


def _trainable(
    made: Loaded, middle: Collection[int], how: How, budget: Budget
) -> dict[str, nn.Parameter]:
    """Make what an attack trains trainable, in float32; gives it by name."""
    model = made.model
    if how == "LoRA":
        linears = family(model).linear_sizes(model.config.to_dict())
        rank = min(_RANK, largest_rank(linears))
        attached = lora.attach(model, range(len(blocks(model))), rank=rank, seed=budget.seed)
        return {**attached.trained, **heads.attach(model).trained}
    parts: dict[str, nn.Module] = {f"blocks.{i}": blocks(model)[i] for i in middle}
    # FSDP shards the blocks alone
    if how == "All":
        parts = {"model": model if budget.sharding == "DDP" else blocks(model)}
    trained = {
        f"{part}.{name}": parameter
        for part, module in parts.items()
        for name, parameter in module.named_parameters()
    }
    for parameter in trained.values():
        parameter.data = parameter.detach().to(torch.float32)
        parameter.requires_grad_(True)
    return trained
