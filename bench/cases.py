"""What is measured: each case is one way of training on the same model and the same batches.

A case runs in a process of its own, so that its peak memory is its own.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments
from work import BATCH, Work

from offsite.emulator import heal
from offsite.layers import batch_loss, blocks, device, family, inference, precision
from offsite.privacy.budget import Mechanism
from offsite.training.distill import distill
from offsite.training.parallel import Objective
from offsite.training.private import PrivateStep, Sample
from offsite.training.train import fit
from offsite.training.tune import Adapter, tune, tune_privately

RANK = 16


def trainer_full(work: Work) -> None:
    """transformers' Trainer, every tensor of the full model."""
    _trainer(work, work.model.requires_grad_(True))


def trainer_lora(work: Work) -> None:
    """transformers' Trainer, LoRA by peft in every linear layer of the full model."""
    _trainer(work, _with_peft(work.model))


def trainer_emulator(work: Work) -> None:
    """transformers' Trainer, LoRA by peft in every linear layer of the emulator."""
    _trainer(work, _with_peft(work.emulator().model))


def full(work: Work) -> None:
    """Ours, every tensor of the full model."""
    trained = dict(work.model.requires_grad_(True).named_parameters())
    loss_of = partial(batch_loss, work.model, work.loaded.modality)
    fit(Objective((work.model,), trained, loss_of), work.batch_at, work.run, phase="bench")


def lora(work: Work) -> None:
    """Ours, LoRA in every block of the full model."""
    _tune(work, work.model, range(len(blocks(work.model))), "LoRA")


def tune_lora_all(work: Work) -> None:
    """Offsite tuning, LoRA in every block of the emulator (the default)."""
    emulator = work.emulator()
    _tune(work, emulator.model, range(len(emulator.blocks)), "LoRA")


def tune_lora_ends(work: Work) -> None:
    """Offsite tuning, LoRA in the end blocks."""
    emulator = work.emulator()
    _tune(work, emulator.model, emulator.ends, "LoRA")


def tune_blocks_ends(work: Work) -> None:
    """Offsite tuning, whole end blocks (the paper's adapter)."""
    emulator = work.emulator()
    _tune(work, emulator.model, emulator.ends, "Blocks")


def private_lora_all(work: Work) -> None:
    """The same with differential privacy, LoRA in every block of the emulator."""
    emulator = work.emulator()
    _tune_privately(work, emulator.model, range(len(emulator.blocks)), "LoRA")


def private_blocks_ends(work: Work) -> None:
    """The same with differential privacy, whole end blocks."""
    emulator = work.emulator()
    _tune_privately(work, emulator.model, emulator.ends, "Blocks")


def distillation(work: Work) -> None:
    """Distillation of the emulator's middle."""
    distill(work.loaded, work.emulator(), work.batch_at, work.weights, work.run)


def forward(work: Work) -> None:
    """One pass of the full model over the text, with its logits, as transformers runs it."""
    with inference():
        for batch in work.batches:
            work.ticks.append(time.perf_counter())
            work.model(**batch.inputs, use_cache=False)


def healing(work: Work) -> None:
    """Healing of the emulator: a step is a batch through all of it."""
    emulator = work.emulator()
    began = time.perf_counter()
    heal(work.model, emulator, work.batches, work.run.monitor)
    each = (time.perf_counter() - began) / len(work.batches)
    work.ticks = [0.0, 0.0, each]


CASES: dict[str, Callable[[Work], None]] = {
    case.__name__: case
    for case in (
        trainer_full,
        full,
        trainer_lora,
        lora,
        trainer_emulator,
        tune_lora_all,
        tune_lora_ends,
        tune_blocks_ends,
        private_lora_all,
        private_blocks_ends,
        distillation,
        forward,
        healing,
    )
}
OF_IMAGES = (
    "trainer_full",
    "full",
    "trainer_lora",
    "lora",
    "trainer_emulator",
    "tune_lora_all",
    "distillation",
)
"""The cases that are measured on images, too."""
BASELINES = {
    "full": "trainer_full",
    "lora": "trainer_lora",
    "tune_lora_all": "trainer_emulator",
    "healing": "forward",
    "private_lora_all": "tune_lora_all",
    "private_blocks_ends": "tune_blocks_ends",
}
"""The case that does the same work: in the well-known trainer, or without differential privacy; of
healing, the pass that it cannot do without."""


def _with_peft(model: PreTrainedModel) -> Any:
    """Put LoRA by peft into every linear layer of the blocks; the head is trained, too."""
    modules = [
        f"{family(model).blocks}.{place}.{target}"
        for place in range(len(blocks(model)))
        for target in family(model).targets
    ]
    saved = list(family(model).heads.values())
    config = LoraConfig(
        r=RANK, lora_alpha=2 * RANK, target_modules=modules, modules_to_save=saved or None
    )
    return get_peft_model(model, config)


def _tune(work: Work, model: PreTrainedModel, places: Any, method: str) -> None:
    loaded = replace(work.loaded, model=model)
    adapter = Adapter(method, RANK, tuple(places), new_head=work.vision)
    tune(loaded, adapter, work.batch_at, work.examples[:1], work.run)


def _tune_privately(work: Work, model: PreTrainedModel, places: Any, method: str) -> None:
    """Tune with differential privacy on the very examples of each batch, one a unit."""
    loaded, adapter = replace(work.loaded, model=model), Adapter(method, RANK, tuple(places))

    def sample_at(step: int) -> Sample:
        work.ticks.append(time.perf_counter())
        chosen = work.examples[step * BATCH : (step + 1) * BATCH]
        amount = sum(each.size for each in chosen)
        return Sample([[each] for each in chosen], "tokens", amount, seed="")

    step = PrivateStep(Mechanism(1.0, 0.01), 1.0, BATCH, loaded.modality.collate)
    tune_privately(loaded, adapter, sample_at, replace(work.run, step=step))


def _in_bfloat16() -> bool:
    """Whether ours multiplies in bfloat16 here; then the Trainer shall do so too."""
    with precision():
        return bool(torch.is_autocast_enabled(device().type))


class _Ticks(TrainerCallback):
    """Notes when the Trainer begins a step."""

    def __init__(self, work: Work) -> None:
        self.work = work

    def on_step_begin(self, *_args: Any, **_kwargs: Any) -> None:  # noqa: V105 - Trainer calls it
        """Note the time."""
        self.work.ticks.append(time.perf_counter())


def _trainer(work: Work, model: Any) -> None:
    arguments = TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=BATCH,
        max_steps=work.run.plan.steps,
        learning_rate=work.run.plan.learning_rate,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        bf16=_in_bfloat16(),
        use_cpu=device().type == "cpu",
    )
    Trainer(model, arguments, train_dataset=work.trainer_rows(), callbacks=[_Ticks(work)]).train()
