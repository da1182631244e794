"""Evaluate the full model on the private text, which only a demo can: it is both parties."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from offsite.events import Monitor
from offsite.layers import Loaded, context, inference, lm_loss, load
from offsite.rows import DataFile, read_rows
from offsite.stages.evaluation import report
from offsite.training.data import Shuffled, encode
from offsite.training.train import Checkpoints, Plan, fit
from offsite_cli.demo.settings import Recipe

_PROMPT_TOKENS = 24
_NEW_TOKENS = 40
_FULL_LEARNING_RATE = 1e-4


@dataclass(frozen=True)
class Scored:
    """A model's metric on the private text, and its continuation of the text's beginning."""

    metric: str
    value: float | None
    prompt: str
    continuation: str


def score_and_continue(folder: Path, text: DataFile, setting: str, monitor: Monitor) -> Scored:
    """Evaluate a model on the private test text, and let it continue the text's beginning."""
    loaded = load(folder)
    metric, value = report(loaded, text, setting, monitor)
    prompt = _first_prompt(loaded, text)
    return Scored(metric, value, prompt, _continue(loaded, prompt))


def _first_prompt(loaded: Loaded, text: DataFile) -> str:
    """Return the end of the first prompt, or the beginning of the first text."""
    row, tokenizer = read_rows(text)[0], loaded.tokenizer
    ids = tokenizer(row.prompt or row.text, add_special_tokens=False, verbose=False)["input_ids"]
    room = max(1, context(loaded.model) - _NEW_TOKENS - 1)
    return str(tokenizer.decode(ids[-room:] if row.prompt else ids[:_PROMPT_TOKENS]))


def _continue(loaded: Loaded, prompt: str) -> str:
    generate: Any = loaded.model.generate
    tokens = loaded.tokenizer(prompt, return_tensors="pt")["input_ids"].to(loaded.model.device)
    with inference():
        output = generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            max_new_tokens=_NEW_TOKENS,
            do_sample=False,
            pad_token_id=loaded.tokenizer.eos_token_id,
        )
    return str(loaded.tokenizer.decode(output[0, tokens.shape[1] :], skip_special_tokens=True))


def fine_tune(
    folder: Path,
    train: DataFile,
    text: DataFile,
    recipe: Recipe,
    seed: int,
    scratch: Path,
    monitor: Monitor,
) -> float | None:
    """Fine-tune the full model on the private data, with the adapter's batches and steps.

    The result is the upper bound of Offsite-Tuning.
    """
    loaded = load(folder)
    model = loaded.model
    nn.Module.to(model, torch.float32)  # bfloat16 would round small updates away
    examples = encode(read_rows(train), loaded.tokenizer, recipe.block_size).examples
    fit(
        (model,),
        dict(model.requires_grad_(True).named_parameters()),
        Shuffled(examples, recipe.batch_size, seed),
        partial(lm_loss, model),
        Plan(steps=recipe.steps, learning_rate=_FULL_LEARNING_RATE, seed=seed),
        phase="full fine-tuning",
        checkpoints=Checkpoints(scratch / "full.safetensors", float("inf")),
        monitor=monitor,
    )
    _, value = report(loaded, text, "full_fine_tuned", monitor)
    return value
