"""Text and labelled examples: from rows to batches of tokens, deterministically."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

import torch
from transformers import PreTrainedTokenizerBase

from offsite.layers import IGNORED, Batch, encoded
from offsite.rows import Row

_BUCKET_BATCHES = 32


@dataclass(frozen=True)
class Example:
    """Tokens, of which those before `start` are only context."""

    tokens: tuple[int, ...]
    start: int = 1


@dataclass(frozen=True)
class Encoded:
    """A data set as examples, and how many of them had to be cut to the context."""

    examples: tuple[Example, ...]
    cut: int


def encode(
    rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, length: int, least: int = 1
) -> Encoded:
    """Turn rows into examples of at most `length` tokens.

    Plain text is packed: joined, each text closed by the end token, and cut into equal blocks.
    A prompt that leaves too little room is cut on its left. Every example has a token to predict,
    and nothing here fails: how many tokens a text has, a peer's tokenizer decides, and a failure
    would tell the peer what it made of the private data.

    Args:
        length: 2 or more.
        least: how many blocks plain text is cut into at least; a short one into shorter blocks.
    """
    if rows[0].text:
        return Encoded(pack((row.text for row in rows), tokenizer, length, least), 0)
    full = [pair(row.prompt, row.completion, tokenizer, end=True) for row in rows]
    cut = sum(len(example.tokens) > length for example in full)
    return Encoded(tuple(shorten(example, length) for example in full), cut)


def pack(
    texts: Iterable[str], tokenizer: PreTrainedTokenizerBase, length: int, least: int = 1
) -> tuple[Example, ...]:
    """Join texts and cut the tokens into blocks of `length`; the last one may be shorter.

    Each block begins with the begin token, where the tokenizer begins a text with it. There are
    `least` blocks or more: blocks get shorter, and fewer than two tokens a block are repeated. A
    peer's tokenizer may make that little of a whole text, and no failure may reveal it.
    """
    lead = _lead(tokenizer)
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    stream: list[int] = []
    for text in texts:
        stream += [*encoded(tokenizer, text), *end]
    needed = 2 * least if least > 1 else 2 - len(lead)
    stream *= -(-needed // len(stream))
    room = min(length - len(lead), len(stream) // least)
    found = (Example((*lead, *stream[i : i + room])) for i in range(0, len(stream), room))
    return tuple(example for example in found if len(example.tokens) > 1)


def pair(prompt: str, completion: str, tokenizer: PreTrainedTokenizerBase, *, end: bool) -> Example:
    """Encode a prompt and its completion, which starts with a space as lm-eval scores it."""
    context = [*_lead(tokenizer), *encoded(tokenizer, prompt)]
    answer = encoded(tokenizer, completion if completion[0].isspace() else f" {completion}")
    if end and tokenizer.eos_token_id is not None:
        answer = [*answer, tokenizer.eos_token_id]
    return Example((*context, *answer), start=max(1, len(context)))


def shorten(example: Example, length: int) -> Example:
    """Cut an example to `length` tokens: from the left, so that the completion stays."""
    excess = max(0, len(example.tokens) - length)
    return Example(example.tokens[excess:], start=max(1, example.start - excess))


def _lead(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Find what the tokenizer puts before every text: its begin token, or nothing."""
    first = encoded(tokenizer, "a", special=True)[:1]
    return first if first == [tokenizer.bos_token_id] else []


def batch_of(examples: Sequence[Example]) -> Batch:
    """Stack examples into one batch, padded on the right to the longest."""
    length = max(len(example.tokens) for example in examples)
    tokens = torch.zeros(len(examples), length, dtype=torch.long)
    targets = torch.full_like(tokens, IGNORED)
    mask = torch.zeros_like(tokens, dtype=torch.bool)
    for row, example in enumerate(examples):
        ids = torch.tensor(example.tokens)
        tokens[row, : len(ids)] = ids
        targets[row, example.start - 1 : len(ids) - 1] = ids[example.start :]
        mask[row, : len(ids)] = True
    return Batch(tokens, targets, mask)


def batches(examples: Sequence[Example], size: int) -> list[Batch]:
    """Batch all examples once, in their order; the last batch may be smaller."""
    return [batch_of(examples[i : i + size]) for i in range(0, len(examples), size)]


class Shuffled:
    """Batches for training: the batch of any step, as a function of the seed alone.

    Each epoch is a new shuffle. Examples of like length share a batch, so little is padded. One
    batch of an epoch may lack examples; it gets others of that epoch, so that no step is of fewer.
    """

    def __init__(self, examples: Sequence[Example], batch_size: int, seed: int) -> None:
        self._examples, self._size, self.seed = examples, batch_size, seed
        self.steps_per_epoch = -(-len(examples) // batch_size)
        self._epoch = lru_cache(maxsize=1)(self._shuffle)

    def __call__(self, step: int) -> Batch:
        """Get the batch of a step, counted from 0."""
        epoch, index = divmod(step, self.steps_per_epoch)
        return batch_of([self._examples[i] for i in self._epoch(epoch)[index]])

    def _shuffle(self, epoch: int) -> list[list[int]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order: list[int] = torch.randperm(len(self._examples), generator=generator).tolist()
        bucket, batches = self._size * _BUCKET_BATCHES, []
        for i in range(0, len(order), bucket):
            near = sorted(order[i : i + bucket], key=lambda j: len(self._examples[j].tokens))
            batches += [near[k : k + self._size] for k in range(0, len(near), self._size)]
        # of like length first; `near` is what the last one was made of
        fill = dict.fromkeys([*batches[-1], *reversed(near), *order])
        batches[-1] = list(islice(fill, self._size))
        mixed: list[int] = torch.randperm(len(batches), generator=generator).tolist()
        return [batches[i] for i in mixed]
