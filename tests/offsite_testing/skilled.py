"""A tiny model that has learnt something: most tests need none that has."""

from functools import cache, partial
from pathlib import Path
from random import Random

from transformers import PreTrainedModel

from offsite.layers import batch_loss, freeze, quiet
from offsite.rows import Row
from offsite.training.checkpoints import Unsaved
from offsite.training.data import Shuffled
from offsite.training.parallel import Objective
from offsite.training.run import Plan, Run
from offsite.training.train import fit
from offsite_testing.core import loaded, silent
from offsite_testing.models import WORDS
from offsite_testing.tiny import tiny_model

_STEPS = 40


def prose(words: int, seed: int) -> str:
    """Write text in which a word depends on the one before: a language of a few rules."""
    known, draw, at = WORDS.split(), Random(seed), 0
    found = list[str]()
    for _ in range(words):
        found.append(known[at])
        at = (3 * at + draw.choice((1, 2))) % len(known)
    return " ".join(found)


@cache
def skilled_model() -> PreTrainedModel:
    """Train a tiny Llama on `prose`; do not change it."""
    model = tiny_model("llama", vocab_size=288)
    for parameter in model.parameters():
        # a start as of transformers: nothing is learnt fast from weights that are too large
        parameter.data = parameter.data * 0.2 if parameter.ndim > 1 else parameter.data * 0 + 1
    full = loaded(model)
    examples = full.modality.encode([Row(text=prose(3000, 0))], 32).examples
    trained = dict(model.requires_grad_(True).named_parameters())
    fit(
        Objective((model,), trained, partial(batch_loss, model, full.modality)),
        Shuffled(examples, full.modality.collate, 16, 0),
        Run(Plan(steps=_STEPS, learning_rate=1e-2, seed=0), Unsaved(), silent()),
        phase="train",
    )
    return freeze(model)


def save_skilled(folder: Path) -> None:
    """Write the trained model over another tiny Llama, whose tokenizer it shares."""
    with quiet():
        skilled_model().save_pretrained(folder)
