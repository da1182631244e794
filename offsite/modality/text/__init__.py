"""Text: rows of text or of labelled prompts, tokens as examples, and the language-model loss."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import ClassVar

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from offsite.api import Augmentation
from offsite.errors import DataError
from offsite.families import Family
from offsite.harness import Source
from offsite.modality.contract import Encoded, Public
from offsite.modality.text.examples import TextExample, begin_token, collate, encode
from offsite.modality.text.loss import losses, predictions, summed_loss
from offsite.modality.text.public import public_texts
from offsite.modality.text.scoring import Perplexity, TextBenchmark, benchmark
from offsite.modality.text.tasks import TaskBenchmark, task_benchmarks
from offsite.modality.text.tokenizer import load_tokenizer
from offsite.rows import DataFile, Row, read_rows

__all__ = ["Text", "TextExample"]

_CONTEXT = 2048
"""Where the config sets no limit (BLOOM), and the longest prompt of a task."""


@dataclass(frozen=True)
class Text:
    """Text for one model. Implements `Modality`."""

    tokenizer: PreTrainedTokenizerBase
    vocabulary: int
    """How many tokens the model knows."""
    context: int
    """How many tokens the model reads at once."""
    distill_weights: ClassVar[tuple[float, float]] = (1.0, 30.0)
    """Those of Xiao et al. (2023), section 4.1."""

    @classmethod
    def open(cls, view: Path, folder: Path, row: Family, model: PreTrainedModel) -> "Text":
        """Load the tokenizer of a model."""
        return cls.of(load_tokenizer(view, folder, row, _vocabulary(model)), model)

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> "Text":
        """Put a tokenizer beside a model, whose config says how many tokens it reads at once."""
        config = model.config.to_dict()
        limit = config.get("max_position_embeddings") or config.get("n_positions") or _CONTEXT
        return cls(tokenizer, _vocabulary(model), int(limit))

    @staticmethod
    def check(data: DataFile) -> None:
        """Read all of it."""
        read_rows(data)

    @staticmethod
    def read(data: DataFile) -> Sequence[Row]:
        """Read JSON lines, or one plain text, as the file's name says."""
        return read_rows(data)

    def augmenting(self, _how: Augmentation) -> "Text":
        """Return itself: text is not augmented."""
        return self

    def without_targets(self) -> "Text":
        """Return itself: the tokens to predict are those to read."""
        return self

    def with_labels(self, _labels: Sequence[str]) -> "Text":
        """Return this: a language model has no classes."""
        return self

    def encode(self, rows: Sequence[Row], length: int, least: int = 1) -> Encoded[TextExample]:
        """Turn rows into examples of at most `length` tokens."""
        found = encode(rows, self.tokenizer, min(length, self.context), least)
        self._check_known(_highest(found.examples))
        return found

    def benchmark(self, rows: Sequence[Row]) -> TextBenchmark:
        """Encode rows for scoring: rows with choices by accuracy, all others by perplexity."""
        found = benchmark(rows, self.tokenizer, self.context)
        self._check_known(_highest(found.examples))
        return found

    def scoring(self, examples: Sequence[TextExample]) -> Perplexity:
        """Score models by the perplexity of examples."""
        return Perplexity(tuple(examples))

    def tasks(self, sources: Sequence[Source]) -> Sequence[TaskBenchmark]:
        """Encode the requests of tasks, in prompts of 2,048 tokens at most."""
        found = task_benchmarks(sources, self.tokenizer, min(self.context, _CONTEXT))
        for each in found:
            self._check_known(_highest(each.examples))
        return found

    def canaries(self, count: int, size: int, draw: Random) -> Sequence[TextExample]:
        """Draw tokens evenly from the whole vocabulary, unused ones included.

        The less likely the tokens, the better training remembers them (arXiv 2503.06808).
        """
        lead, length = begin_token(self.tokenizer), max(2, min(size, self.context))
        drawn = (draw.choices(range(self.vocabulary), k=length - len(lead)) for _ in range(count))
        return [TextExample((*lead, *tokens)) for tokens in drawn]

    def public(self) -> Sequence[Public]:
        """Encode public prose, source code and records."""
        found = public_texts(self.tokenizer, self.context)
        self._check_known(max(int(each.contents.max()) for each in found))
        return found

    collate = staticmethod(collate)
    predictions = staticmethod(predictions)
    summed_loss = staticmethod(summed_loss)
    losses = staticmethod(losses)

    def save(self, folder: Path) -> None:
        """Write the tokenizer's files."""
        self.tokenizer.save_pretrained(folder)

    def _check_known(self, highest: int) -> None:
        """Check that the model knows every token; one for images it may not (`Family.beyond`)."""
        if highest >= self.vocabulary:
            token = self.tokenizer.convert_ids_to_tokens(highest)
            raise DataError(f"holds {token!r}, which this model does not know; take it out")


def _highest(examples: Iterable[TextExample]) -> int:
    return max(max(example.tokens, default=0) for example in examples)


def _vocabulary(model: PreTrainedModel) -> int:
    return int(model.get_input_embeddings().get_parameter("weight").shape[0])
