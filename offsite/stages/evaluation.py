"""Reads the texts of a stage, and evaluates models on them."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from offsite.errors import DataError, ModelError
from offsite.events import Monitor
from offsite.layers import Loaded, context
from offsite.rows import DataFile, read_rows
from offsite.steps.places import text_digest
from offsite.training.data import Example, encode
from offsite.training.evaluate import Benchmark, benchmark


def read_examples(
    text: DataFile, loaded: Loaded, length: int, monitor: Monitor, least: int = 1
) -> tuple[Example, ...]:
    """Read a data set as examples of at most `length` tokens; logs how many had to be cut.

    Args:
        least: as `encode`.
    """
    rows = read_rows(text)
    with _named(text):
        found = encode(rows, loaded.tokenizer, min(length, context(loaded.model)), least)
    _check_known(found.examples, text, loaded)
    _say_cut(found.cut, len(rows), text, monitor)
    return found.examples


@contextmanager
def _named(text: DataFile) -> Iterator[None]:
    """Say which text it was that could not be encoded."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{text.name}: {error}") from error
    except ModelError as error:
        raise ModelError(f"{text.name}: {error}") from error


def _check_known(examples: Iterable[Example], text: DataFile, loaded: Loaded) -> None:
    """Check that the model knows every token; one for images it may not (`Family.beyond`)."""
    highest = max(max(example.tokens, default=0) for example in examples)
    if highest >= loaded.vocabulary:
        token = loaded.tokenizer.convert_ids_to_tokens(highest)
        raise DataError(f"{text.name} holds {token!r}, which this model does not know; take it out")


def _say_cut(cut: int, rows: int, text: DataFile, monitor: Monitor) -> None:
    if cut:
        monitor.log(
            f"{cut} of {rows} examples of {text.name} are longer than blockSize or the context; "
            "cut on the left"
        )


@dataclass(frozen=True)
class Evaluation:
    """A text to score models on. It is read before any work, so that what is wrong costs none."""

    bench: Benchmark
    digest: str
    """By which two parties know that they scored the same text."""

    @classmethod
    def read(cls, text: DataFile, loaded: Loaded, monitor: Monitor) -> "Evaluation":
        """Read and encode a text; says how many prompts had to be cut."""
        rows = read_rows(text)
        with _named(text):
            bench = benchmark(rows, loaded.tokenizer, context(loaded.model))
        _check_known(bench.examples, text, loaded)
        _say_cut(bench.cut, len(rows), text, monitor)
        return cls(bench, text_digest(text))

    def report(self, loaded: Loaded, setting: str, monitor: Monitor) -> tuple[str, float | None]:
        """Score a model; tell, and give, the metric and its value; None where it is infinite."""
        value = self.bench.score(loaded.model, monitor, phase=f"evaluate {setting}")
        told = monitor.metric(self.bench.metric, setting, value, text=self.digest)
        return self.bench.metric, told


def report(
    loaded: Loaded, text: DataFile, setting: str, monitor: Monitor
) -> tuple[str, float | None]:
    """Score one model on a text that no other is scored on here."""
    return Evaluation.read(text, loaded, monitor).report(loaded, setting, monitor)
