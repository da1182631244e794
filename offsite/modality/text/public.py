"""Public text to inspect a model on, as batches of the model's own tokens.

It was written for this project: stories, programs, and records of people who do not exist.
"""

from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from offsite.modality.contract import Public
from offsite.modality.text.examples import collate, encode
from offsite.rows import DataFile, read_rows

KINDS = ("prose", "code", "records")
_FOLDER = Path(__file__).parent / "texts"
_LENGTH = 128
_TOKENS = 512
"""Of each kind: enough to tell a neuron that fires on one event from one that is merely sparse."""
_LEAST = 2
_DISTANCES = range(2, 17)
"""Honest heads look at the previous token everywhere, but at none further back."""


def public_texts(tokenizer: PreTrainedTokenizerBase, context: int) -> list[Public]:
    """Encode each kind of public text as one batch of equally long examples, without padding."""
    return [_encoded(kind, tokenizer, min(_LENGTH, context)) for kind in KINDS]


def _encoded(kind: str, tokenizer: PreTrainedTokenizerBase, length: int) -> Public:
    rows = read_rows(DataFile(_FOLDER / f"{kind}.txt"))
    examples = encode(rows, tokenizer, length, _LEAST).examples
    size = examples[0].size  # only the last may be shorter
    equal = [example for example in examples if example.size == size]
    batch = collate(equal[: max(_LEAST, _TOKENS // size)])
    tokens = batch.inputs["input_ids"]
    places = torch.arange(size).expand_as(tokens)
    return Public(kind, batch, tokens, (tokens, places), (_by_distance(size),), skipped=1)


def _by_distance(length: int) -> Tensor:
    """Number the ways from each position back by their length, (T, T)."""
    places = torch.arange(length)
    distance = places[:, None] - places[None, :]
    # a query that is too early for a distance tells nothing of it
    known = torch.tensor([each for each in _DISTANCES if 2 * each <= length])
    return torch.where(torch.isin(distance, known), distance, -1)
