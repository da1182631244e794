"""Benchmarks of lm-evaluation-harness: lm-eval writes the prompts and judges the answers.

Its `Task` makes requests of documents, and metrics of the likelihoods that answer them. In between,
requests are examples like any other: batched, shared among workers, and stopped by a signal. So no
request needs a model or a tokenizer of lm-eval, and nothing is loaded from the hub.
"""

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from offsite.errors import DataError
from offsite.harness import METRICS, Output, Source
from offsite.modality.batch import Batch
from offsite.modality.scores import Score, proportion
from offsite.modality.text.chance import unigram
from offsite.modality.text.examples import TextExample, shorten
from offsite.modality.text.loss import likelihoods
from offsite.modality.text.requests import paired, rolled
from offsite.modality.text.scoring import perplexities, perplexity
from offsite.modality.uncertainty import Comparable, Interval, Skill, mean, mean_interval

_ROLLING: Output = "loglikelihood_rolling"
_LIKELIHOODS = {"perplexity", *METRICS[_ROLLING]}
"""Metrics of likelihoods. All others are accuracies."""
_SEED = 1234
"""Which answered examples a prompt has: lm-eval's default."""


@dataclass(frozen=True)
class TaskBenchmark(Comparable):
    """A task that models are scored on, by lm-eval's metrics."""

    name: str
    metrics: tuple[str, ...]
    task: Any
    """A `lm_eval.api.task.ConfigurableTask`."""
    documents: tuple[Any, ...]
    counts: tuple[int, ...]
    """How many requests each document has."""
    output: Output
    """Whether a request is a whole text, in windows, or a prompt and what may follow it."""
    examples: tuple[TextExample, ...]
    windows: tuple[int, ...]
    """How many examples each request has."""
    cut: int
    unscored: ClassVar[str] = ""

    def outcomes(self, model: PreTrainedModel, hidden: Tensor, batch: Batch) -> Tensor:
        """Compute the log-likelihood of each example, and whether it is greedy, (B, 2)."""
        return likelihoods(model, hidden, batch)

    def scores(self, outcomes: Tensor) -> Sequence[Score]:
        """Compute the metrics, named as `task/metric`."""
        return [_score(skill) for skill in self._skills(outcomes)]

    def skill(self, outcomes: Tensor) -> Skill:
        """Return what the first metric is a mean of: accuracy, or log-likelihood."""
        return self._skills(outcomes)[0]

    def chance(self, corpus: Sequence[TextExample]) -> Skill:
        """Return what `skill` is by guessing.

        A choice is drawn at random, tokens are as likely as they are frequent in the corpus, and
        no guess of a whole answer is right.
        """
        metric, nothing = self.metrics[0], np.zeros(len(self.documents))
        if metric in _LIKELIHOODS:
            guessed = torch.from_numpy(unigram(self.examples, corpus))
            return self.skill(torch.stack([guessed, torch.zeros_like(guessed)], dim=1))
        chosen = self.output == "multiple_choice" and metric != "exact_match"
        amounts = 1 / np.array(self.counts, dtype=np.float64) if chosen else nothing
        return Skill(f"{self.name}/{metric}", amounts, np.ones(len(amounts)))

    def details(self, _outcomes: Tensor) -> Sequence[str]:
        """Return no details."""
        return ()

    def _skills(self, outcomes: Tensor) -> list[Skill]:
        answers = iter(self._answers(outcomes))
        with _quiet():
            judged = [
                self.task.process_results(document, list(islice(answers, count)))
                for document, count in zip(self.documents, self.counts, strict=True)
            ]
        values = {metric: [each[metric] for each in judged] for metric in self.metrics}
        return [_skill(f"{self.name}/{metric}", each) for metric, each in values.items()]

    def _answers(self, outcomes: Tensor) -> Iterator[Any]:
        """Yield the answer to each request, as lm-eval's `LM` has it."""
        for each in outcomes.split(list(self.windows)):
            likelihood, greedy = float(each[:, 0].sum()), bool(each[:, 1].all())
            yield likelihood if self.output == _ROLLING else (likelihood, greedy)


def task_benchmarks(
    sources: Sequence[Source], tokenizer: PreTrainedTokenizerBase, length: int
) -> tuple[TaskBenchmark, ...]:
    """Make benchmarks of tasks.

    Args:
        length: Largest number of tokens in an example; a longer prompt is cut on its left.

    Raises:
        DataError: A data set does not have the columns of its task.
    """
    return tuple(_benchmark(source, tokenizer, length) for source in sources)


def _benchmark(source: Source, tokenizer: PreTrainedTokenizerBase, length: int) -> TaskBenchmark:
    with _named(source.name), _quiet():
        task = _task(source)
        documents = tuple(document for _, document in task.doc_iterator())
        requests = [_requests(task, document, source.shots) for document in documents]
    every = [arguments for each in requests for arguments in each]
    if source.output == _ROLLING:
        encoded, cut = [rolled(tokenizer, text, length) for (text,) in every], 0
    else:
        full = [paired(tokenizer, *arguments) for arguments in every]
        encoded = [[shorten(example, length)] for example in full]
        cut = sum(example.size > length for example in full)
    return TaskBenchmark(
        name=source.name,
        metrics=source.metrics,
        task=task,
        documents=documents,
        counts=tuple(len(each) for each in requests),
        output=source.output,
        examples=tuple(example for each in encoded for example in each),
        windows=tuple(len(each) for each in encoded),
        cut=cut,
    )


def _task(source: Source) -> Any:
    """Make lm-eval's task of a source. Its data is in memory, so nothing is downloaded."""
    import datasets  # these two are slow to import
    from lm_eval.api.task import ConfigurableTask

    splits = {split: datasets.Dataset.from_list(list(d)) for split, d in source.documents.items()}
    data = {"custom_dataset": lambda **_: splits}
    if source.folder:
        task = _published(source, data)
    else:
        task = ConfigurableTask(config={**source.config, **data})
    task.set_config(key="num_fewshot", value=source.shots)
    task.set_fewshot_seed(_SEED)
    return task


def _published(source: Source, data: dict[str, Any]) -> Any:
    """Make a task from the files of the installed lm-eval."""
    import lm_eval.tasks

    folder = Path(lm_eval.tasks.__file__).parent / source.folder
    manager = lm_eval.tasks.TaskManager(include_path=folder, include_defaults=False)
    # of a task in a group, fields can be replaced
    group = {"group": "offsite", "task": [{"task": source.name, **source.config, **data}]}
    return manager.load([group])["tasks"][source.name]


def _requests(task: Any, document: Any, shots: int) -> list[tuple[str, ...]]:
    prompt = task.fewshot_context(document, num_fewshot=shots)
    made = task.construct_requests(doc=document, ctx=prompt)
    return [each.args for each in (made if isinstance(made, list) else [made])]


def _skill(metric: str, values: Sequence[Any]) -> Skill:
    weighted = [each if isinstance(each, tuple) else (each, 1) for each in values]
    amounts, weights = np.array(weighted, dtype=np.float64).T
    return Skill(metric, amounts, weights)


def _score(skill: Skill) -> Score:
    """Turn a skill into the metric that lm-eval reports, with its interval."""
    metric, value = skill.metric.rpartition("/")[2], mean(skill)
    if metric == "bits_per_byte":
        return Score(skill.metric, -value / math.log(2), _bits(mean_interval(skill)))
    if metric.endswith("perplexity"):
        return Score(skill.metric, perplexity(-value), perplexities(mean_interval(skill)))
    return proportion(skill.metric, int(skill.amounts.sum()), len(skill.amounts))


def _bits(interval: Interval | None) -> Interval | None:
    return (-interval[1] / math.log(2), -interval[0] / math.log(2)) if interval else None


@contextmanager
def _named(task: str) -> Iterator[None]:
    """Name the task whose data lm-eval cannot use; it has no class of errors for that."""
    try:
        yield
    except Exception as error:
        kind, reason = type(error).__name__, " ".join(str(error).split())[:200]
        raise DataError(
            f"the data of the task {task} does not fit it ({kind}: {reason}); compare its columns "
            "with those that docs/lm-eval.md names"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep documents, which may be private, and progress bars of lm-eval out of the logs."""
    import datasets

    logger, shown = logging.getLogger("lm_eval"), datasets.is_progress_bar_enabled()
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        logger.setLevel(level)
        if shown:
            datasets.enable_progress_bars()
