"""Evaluate the full model on the private text, which only a demo can: it is both parties."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from offsite.events import Monitor
from offsite.layers import Loaded, batch_loss, inference, load
from offsite.modality import Text
from offsite.rows import DataFile
from offsite.stages.evaluation import read_examples, report
from offsite.training.checkpoints import Checkpoints
from offsite.training.data import Shuffled
from offsite.training.parallel import Objective
from offsite.training.run import Plan, Run
from offsite.training.train import fit
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
    found = report(loaded, text, setting, monitor)
    assert found is not None, "text can always be scored"
    words = loaded.modality
    assert isinstance(words, Text)
    prompt = _first_prompt(words, text)
    return Scored(*found, prompt, _continue(loaded, words.tokenizer, prompt))


def _first_prompt(words: Text, text: DataFile) -> str:
    """Return the end of the first prompt, or the beginning of the first text."""
    row, tokenizer = words.read(text)[0], words.tokenizer
    ids = tokenizer(row.prompt or row.text, add_special_tokens=False, verbose=False)["input_ids"]
    room = max(1, words.context - _NEW_TOKENS - 1)
    return str(tokenizer.decode(ids[-room:] if row.prompt else ids[:_PROMPT_TOKENS]))


def _continue(loaded: Loaded, tokenizer: PreTrainedTokenizerBase, prompt: str) -> str:
    generate: Any = loaded.model.generate
    tokens = tokenizer(prompt, return_tensors="pt")["input_ids"].to(loaded.model.device)
    with inference():
        output = generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            max_new_tokens=_NEW_TOKENS,
            do_sample=False,
            pad_token_id=tokenizer.eos_token_id,
        )
    return str(tokenizer.decode(output[0, tokens.shape[1] :], skip_special_tokens=True))


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
    examples = read_examples(train, loaded, recipe.block_size, monitor)
    trained = dict(model.requires_grad_(True).named_parameters())
    run = Run(
        Plan(steps=recipe.steps, learning_rate=_FULL_LEARNING_RATE, seed=seed),
        Checkpoints(scratch / "full.safetensors", float("inf")),
        monitor,
    )
    fit(
        Objective((model,), trained, partial(batch_loss, model, loaded.modality)),
        Shuffled(examples, loaded.modality.collate, recipe.batch_size, seed),
        run,
        phase="full fine-tuning",
    )
    found = report(loaded, text, "full_fine_tuned", monitor)
    return found[1] if found is not None else None
