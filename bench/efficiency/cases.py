"""The ways of training that are compared, on the same batches of random tokens.

The baselines are transformers' Trainer as its users run it: mixed precision in bfloat16 where ours
uses it, float32 masters of what is trained, the frozen weights under LoRA in bfloat16 where it is
fast. The offsite cases are what a Tune job calls.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import Trainer, TrainerCallback, TrainingArguments

from efficiency.models import random_model
from efficiency.shapes import ENDS, Shape
from offsite.events import Monitor
from offsite.layers import blocks, device, family, load_base, precision
from offsite.modality import Batch
from offsite.modality.text import TextExample
from offsite.modality.text.examples import collate
from offsite.training.checkpoints import Unsaved
from offsite.training.run import Plan, Run
from offsite.training.tune import Adapter, tune

_LEARNING_RATE = 1e-5


class Work:
    """The batches and the clock of one case."""

    def __init__(self, shape: Shape, batch: int, steps: int, rank: int, emulator: Path) -> None:
        """Draw the tokens of all steps."""
        self.shape, self.batch, self.steps, self.rank = shape, batch, steps, rank
        self.emulator = emulator
        draw = torch.Generator().manual_seed(0)
        size = (steps * batch, shape.length)
        rows = torch.randint(2, shape.sizes["vocab_size"], size, generator=draw).tolist()
        self.examples = [TextExample(tuple(row)) for row in rows]
        self.ticks: list[float] = []

    def tick(self) -> None:
        """Note that a step begins, or that the last one is done."""
        if device().type == "cuda":
            torch.cuda.synchronize()
        self.ticks.append(time.perf_counter())

    def batch_at(self, step: int) -> Batch:
        """Return the batch of a step that begins."""
        self.tick()
        return collate(self.examples[step * self.batch : (step + 1) * self.batch])


def full_fine_tuning(work: Work) -> None:
    """Full fine-tuning."""
    _trainer(work, random_model(work.shape, torch.float32))


def lora_full_model(work: Work) -> None:
    """LoRA in the full model."""
    model = random_model(work.shape, torch.bfloat16 if _in_bfloat16() else torch.float32)
    row = family(model)
    modules = [
        f"{row.blocks}.{place}.{target}"
        for place in range(len(blocks(model)))
        for target in row.targets
    ]
    _trainer(work, get_peft_model(model, LoraConfig(r=work.rank, target_modules=modules)))


def offsite_blocks(work: Work) -> None:
    """Offsite tuning: whole end blocks (the paper's)."""
    _tune(work, "Blocks", ends=True)


def offsite_lora_ends(work: Work) -> None:
    """Offsite tuning + LoRA in the end blocks (the paper's)."""
    _tune(work, "LoRA", ends=True)


def offsite_lora_all(work: Work) -> None:
    """Offsite tuning + LoRA in all blocks (the default)."""
    _tune(work, "LoRA", ends=False)


CASES: dict[str, Callable[[Work], None]] = {
    case.__name__: case
    for case in (
        full_fine_tuning,
        lora_full_model,
        offsite_blocks,
        offsite_lora_ends,
        offsite_lora_all,
    )
}


def _tune(work: Work, method: str, *, ends: bool) -> None:
    every = tuple(range(work.shape.emulated))
    places = every[:ENDS] + every[-ENDS:] if ends else every
    loaded = load_base(work.emulator, trained=places if method == "Blocks" else ())
    plan = Plan(steps=work.steps, learning_rate=_LEARNING_RATE, seed=0)
    run = Run(plan, Unsaved(), Monitor(lambda _event: None))
    tune(loaded, Adapter(method, work.rank, places), work.batch_at, (), run)
    work.tick()


def _in_bfloat16() -> bool:
    """Whether ours multiplies in bfloat16 here; where it is slower than float32, no case does."""
    with precision():
        return bool(torch.is_autocast_enabled(device().type))


class _Ticks(TrainerCallback):
    """Notes when the Trainer begins a step, and when it is done."""

    def __init__(self, work: Work) -> None:
        self.work = work

    def on_step_begin(self, *_args: Any, **_kwargs: Any) -> None:  # noqa: V105 - Trainer calls it
        """Note the time."""
        self.work.tick()

    def on_train_end(self, *_args: Any, **_kwargs: Any) -> None:  # noqa: V105 - Trainer calls it
        """Note the time."""
        self.work.tick()


def _trainer(work: Work, model: Any) -> None:
    rows = [{"input_ids": each.tokens, "labels": each.tokens} for each in work.examples]
    with tempfile.TemporaryDirectory(prefix="offsite-bench-") as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=work.batch,
            max_steps=work.steps,
            learning_rate=_LEARNING_RATE,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            bf16=_in_bfloat16(),
            use_cpu=device().type == "cpu",
        )
    trainer = Trainer(model, arguments, train_dataset=rows, callbacks=[_Ticks(work)])
    trainer.train()
