"""What nobody could compute in earnest: scores of the full model on the private text.

The demo plays both parties, so it can.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from offsite.data import Shuffled, encode, read_rows
from offsite.events import Monitor
from offsite.layers import Batch, Loaded, inference, lm_loss, load, precision
from offsite.stages.report import report
from offsite.train import Checkpoints, Plan, fit
from offsite_cli.demo.story import Recipe

_PROMPT_TOKENS = 24
_NEW_TOKENS = 40
_FULL_LEARNING_RATE = 1e-4


def score_and_continue(
    folder: Path, text: Path, setting: str, prompt: str, monitor: Monitor
) -> tuple[str, float, str]:
    """Score a model on the private test text, and let it go on from a prompt.

    Returns:
        the metric, its value, and the continuation.
    """
    loaded = load(folder)
    metric, value = report(loaded, text, setting, monitor)
    return metric, value, _continue(loaded, prompt)


def first_prompt(folder: Path, text: Path) -> str:
    """Take the beginning of the first held-out document as a prompt."""
    row, tokenizer = read_rows(text)[0], load(folder).tokenizer
    if row.prompt:
        return row.prompt
    ids = tokenizer(row.text, add_special_tokens=False)["input_ids"][:_PROMPT_TOKENS]
    return str(tokenizer.decode(ids))


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
    train: Path,
    text: Path,
    recipe: Recipe,
    seed: int,
    scratch: Path,
    monitor: Monitor,
) -> float:
    """Train every tensor of the full model on the private data: the upper bound.

    Same batches and steps as the adapter had.
    """
    loaded = load(folder)
    model = loaded.model

    def loss_of(batch: Batch) -> Tensor:
        with precision():
            return lm_loss(model, batch.to(model.device))

    examples = encode(read_rows(train), loaded.tokenizer, recipe.block_size).examples
    fit(
        dict(model.requires_grad_(True).named_parameters()),
        Shuffled(examples, recipe.batch_size, seed),
        loss_of,
        Plan(steps=recipe.steps, learning_rate=_FULL_LEARNING_RATE, seed=seed),
        phase="full fine-tuning",
        checkpoints=Checkpoints(scratch / "full.safetensors", float("inf")),
        monitor=monitor,
    )
    _, value = report(loaded, text, "full_fine_tuned", monitor)
    return value
