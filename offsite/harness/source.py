"""The tasks that a job names, with their documents."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from offsite.errors import DataError
from offsite.harness.documents import Document, documents_in, parts_of, read_bytes
from offsite.harness.published import PUBLISHED, Published, mirrored
from offsite.harness.rendering import CONFIG, render
from offsite.harness.taskfile import Output, TaskFile, parse_task
from offsite.wire import canonical, digest_of

_LARGEST_TASK = 1 << 20
"""Bytes of a YAML file."""


@dataclass(frozen=True)
class Source:
    """One task: what lm-eval is to make of it, and its documents."""

    name: str
    output: Output
    metrics: tuple[str, ...]
    """Those to report; the first one counts."""
    documents: Mapping[str, Sequence[Document]]
    """By split."""
    config: Mapping[str, Any]
    """Fields of lm-eval's `TaskConfig`: all of a local task, or those that replace its own."""
    digest: str
    """Two parties with equal digests scored the same questions."""
    folder: str = ""
    """Of a published task, in lm-eval's `tasks`; empty: the task is a local one."""
    shots: int = 0
    """Number of answered examples in a prompt."""


@dataclass(frozen=True)
class TaskFolder:
    """The folder of a job's tasks: YAML files with their data, or a mirror of data sets."""

    path: Path
    location: str
    """Its name in messages; it ends in `/`."""
    names: tuple[str, ...]

    def read(self) -> tuple[Source, ...]:
        """Read the tasks.

        Raises:
            SpecError, DataError: A file is missing or invalid, or would run code.
        """
        return tuple(self._read(name) for name in self.names)

    def _read(self, name: str) -> Source:
        file = f"{name}.yaml"
        local = (self.path / file).exists()
        if (published := PUBLISHED.get(name)) is None:
            return self._local(name, file)
        if local:
            raise DataError(
                f"{self.location}{file} has the name of a task of lm-eval; rename it, and its task"
            )
        return self._published(name, published)

    def _local(self, name: str, file: str) -> Source:
        where = f"{self.location}{file}"
        try:
            content = read_bytes(self.path, (file,), where, _LARGEST_TASK)
        except DataError as error:
            raise DataError(
                f"{error}; tasks of lm-eval itself are {', '.join(PUBLISHED)}"
            ) from error
        task = parse_task(content, where, name)
        parts, documents = [content], dict[str, Sequence[Document]]()
        for split in dict.fromkeys(filter(None, (task.split, task.shots))):
            data, documents[split] = self._split(task, split, where)
            parts.append(data)
        return Source(
            name=name,
            output=task.output_type,
            metrics=task.metrics,
            documents=documents,
            config=_config(task),
            digest=_digest(name, parts),
            shots=task.num_fewshot,
        )

    def _split(self, task: TaskFile, split: str, where: str) -> tuple[bytes, list[Document]]:
        given = task.dataset_kwargs.data_files[split]
        parts = parts_of(given, where)
        name = f"{self.location}{'/'.join(parts)}"
        if name.lower().endswith(".parquet") != (task.dataset_path == "parquet"):
            raise DataError(f"{where}: {given!r} is not a file of dataset_path {task.dataset_path}")
        content = read_bytes(self.path, parts, name)
        return content, render(task, documents_in(content, name), name)

    def _published(self, name: str, task: Published) -> Source:
        documents, contents = mirrored(task, self.path, self.location)
        absent = {"training_split", "validation_split", "test_split"} - {f"{task.split}_split"}
        return Source(
            name=name,
            output=task.output,
            metrics=task.metrics,
            documents={task.split: documents},
            config=dict.fromkeys(sorted(absent)),
            digest=_digest(f"lm-eval {version('lm_eval')} {name} {task.version}", contents),
            folder=task.folder,
        )


def _config(task: TaskFile) -> dict[str, Any]:
    choices = {"doc_to_choice": "choices"} if task.output_type == "multiple_choice" else {}
    return {
        "task": task.task,
        "output_type": task.output_type,
        "test_split": task.split,
        "fewshot_split": task.shots or None,
        "target_delimiter": task.target_delimiter,
        "fewshot_delimiter": task.fewshot_delimiter,
        "metric_list": [_metric(name) for name in task.metrics],
        **CONFIG,
        **choices,
    }


def _metric(name: str) -> dict[str, Any]:
    kinds = {"perplexity": "perplexity", "bits_per_byte": "bits_per_byte"}
    weighted = name in ("word_perplexity", "byte_perplexity")
    aggregation = "weighted_perplexity" if weighted else kinds.get(name, "mean")
    return {"metric": name, "aggregation": aggregation, "higher_is_better": aggregation == "mean"}


def _digest(name: str, contents: Sequence[bytes]) -> str:
    return digest_of(canonical([name, *(hashlib.sha256(each).hexdigest() for each in contents)]))
