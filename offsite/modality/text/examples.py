"""Examples of text: from rows to tokens, and from tokens to batches, deterministically."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerBase

from offsite.modality.batch import IGNORED, Batch
from offsite.modality.contract import Encoded
from offsite.modality.text.tokenizer import encoded
from offsite.rows import Row


@dataclass(frozen=True)
class TextExample:
    """Tokens, of which those before `start` are only context."""

    tokens: tuple[int, ...]
    start: int = 1

    @property
    def size(self) -> int:
        """Count its tokens."""
        return len(self.tokens)

    @property
    def weight(self) -> int:
        """Count the tokens to predict."""
        return len(self.tokens) - self.start


def encode(
    rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, length: int, least: int = 1
) -> Encoded[TextExample]:
    """Turn rows into examples of at most `length` tokens.

    Plain text is packed: joined, each text closed by the end token, and cut into equal blocks.
    A prompt that leaves too little room is cut on its left. Every example has a token to predict,
    and nothing here fails: how many tokens a text has, a peer's tokenizer decides, and a failure
    would reveal to the peer what the private data contains.

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
) -> tuple[TextExample, ...]:
    """Join texts and cut the tokens into blocks of `length`; the last one may be shorter.

    Each block begins with the begin token, where the tokenizer begins a text with it. There are
    `least` blocks or more: blocks get shorter, and fewer than two tokens a block are repeated. A
    peer's tokenizer may make that little of a whole text, and no failure may reveal it.
    """
    lead = begin_token(tokenizer)
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    stream: list[int] = []
    for text in texts:
        stream += [*encoded(tokenizer, text), *end]
    needed = 2 * least if least > 1 else 2 - len(lead)
    stream *= -(-needed // len(stream))
    room = min(length - len(lead), len(stream) // least)
    found = (TextExample((*lead, *stream[i : i + room])) for i in range(0, len(stream), room))
    return tuple(example for example in found if len(example.tokens) > 1)


def pair(
    prompt: str, completion: str, tokenizer: PreTrainedTokenizerBase, *, end: bool
) -> TextExample:
    """Encode a prompt and its completion, which starts with a space as lm-eval scores it."""
    context = [*begin_token(tokenizer), *encoded(tokenizer, prompt)]
    answer = encoded(tokenizer, completion if completion[0].isspace() else f" {completion}")
    if end and tokenizer.eos_token_id is not None:
        answer = [*answer, tokenizer.eos_token_id]
    return TextExample((*context, *answer), start=max(1, len(context)))


def shorten(example: TextExample, length: int) -> TextExample:
    """Cut an example to `length` tokens: from the left, so that the completion stays."""
    excess = max(0, len(example.tokens) - length)
    return TextExample(example.tokens[excess:], start=max(1, example.start - excess))


def begin_token(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Find what the tokenizer puts before every text: its begin token, or nothing."""
    first = encoded(tokenizer, "a", special=True)[:1]
    return first if first == [tokenizer.bos_token_id] else []


def collate(examples: Sequence[TextExample], seed: str | None = None) -> Batch:
    """Stack examples into one batch, padded on the right to the longest.

    The target of a position is the token that follows it. Text is never augmented.
    """
    length = max(len(example.tokens) for example in examples)
    tokens = torch.zeros(len(examples), length, dtype=torch.long)
    targets = torch.full_like(tokens, IGNORED)
    mask = torch.zeros_like(tokens, dtype=torch.bool)
    for row, example in enumerate(examples):
        ids = torch.tensor(example.tokens)
        tokens[row, : len(ids)] = ids
        targets[row, example.start - 1 : len(ids) - 1] = ids[example.start :]
        mask[row, : len(ids)] = True
    return Batch({"input_ids": tokens}, targets, mask, unit="tokens")
