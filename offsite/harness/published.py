"""Tasks that lm-eval has itself, with their data sets from a mirror: those of the paper.

Their YAML and code are those of the installed lm-eval, which is trusted as any library is. Their
data is read from the mirror's Parquet or JSON lines, and never from the hub.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from offsite.errors import DataError
from offsite.harness.documents import Document, documents_in, read_bytes
from offsite.harness.taskfile import METRICS, Output

_SUFFIXES = (".parquet", ".jsonl")
_FOLDERS = ("default", "data", "")
"""Where the files of a data set without configurations may be."""


@dataclass(frozen=True)
class Published:
    """A task of lm-eval, and where its data set is below a mirror."""

    folder: str
    """Of the task, in lm-eval's `tasks`."""
    data: str
    """The data set on the hub, and below the mirror."""
    config: str
    """The configuration of the data set; empty: it has none."""
    split: str
    """What models are scored on."""
    version: str
    """Of the task. Figures of other versions are not comparable."""
    metrics: tuple[str, ...] = ("acc", "acc_norm")
    output: Output = "multiple_choice"


PUBLISHED: Mapping[str, Published] = {
    "openbookqa": Published("openbookqa", "allenai/openbookqa", "main", "test", "1.0"),
    "piqa": Published("piqa", "baber/piqa", "", "validation", "1.0"),
    "arc_easy": Published("arc", "allenai/ai2_arc", "ARC-Easy", "test", "1.0"),
    "arc_challenge": Published("arc", "allenai/ai2_arc", "ARC-Challenge", "test", "1.0"),
    "hellaswag": Published("hellaswag", "Rowan/hellaswag", "", "validation", "1.0"),
    "sciq": Published("sciq", "allenai/sciq", "", "test", "1.0"),
    "webqs": Published("webqs", "stanfordnlp/web_questions", "", "test", "2.0", ("exact_match",)),
    "race": Published("race", "EleutherAI/race", "high", "test", "3.0", ("acc",)),
    "wikitext": Published(
        "wikitext",
        "EleutherAI/wikitext_document_level",
        "wikitext-2-raw-v1",
        "test",
        "2.0",
        METRICS["loglikelihood_rolling"],
        "loglikelihood_rolling",
    ),
}
"""By name. In Xiao et al. (2023): the first eight, and WikiText."""


def mirrored(task: Published, root: Path, location: str) -> tuple[list[Document], list[bytes]]:
    """Read the documents of a task from a mirror.

    Args:
        location: The name of the mirror in messages.

    Returns:
        The documents, and the content of the files.

    Raises:
        DataError: The mirror lacks them, or a file is damaged.
    """
    contents, found = [], list[Document]()
    for parts in _files(task, root, location):
        name = f"{location}{'/'.join(parts)}"
        content = read_bytes(root, parts, name)
        contents.append(content)
        found += documents_in(content, name)
    return found, contents


def _files(task: Published, root: Path, location: str) -> list[tuple[str, ...]]:
    """List the files of the split: in the first folder that has some, sorted by name.

    `test/0000.parquet`, `test-00000-of-00001.parquet`, `race-test.parquet` and `test.jsonl` are of
    the split `test`.
    """
    word = re.compile(rf"(^|[/_-]){task.split}([/_.-]|$)")
    for folder in (task.config,) if task.config else _FOLDERS:
        base = "/".join(filter(None, (task.data, folder)))
        names = sorted(n for n in _below(root / base) if word.search(n) and n.endswith(_SUFFIXES))
        if names:
            return [(*base.split("/"), *name.split("/")) for name in names]
    place = "/".join(filter(None, (task.data, task.config)))
    raise DataError(
        f"{location}{place}/ has no file of the split {task.split}, such as "
        f"{task.split}/0000.parquet; get the data set from the hub as docs/lm-eval.md says"
    )


def _below(folder: Path) -> Iterator[str]:
    """List files one and two levels below a folder. What a link leads to is not read later."""
    if not folder.is_dir():
        return
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            yield from (f"{entry.name}/{inner.name}" for inner in os.scandir(entry.path))
        else:
            yield entry.name
