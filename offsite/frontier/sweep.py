"""Reads a sweep: the emulator's sections of a Distill job, where a list is a choice.

    ends: {bottom: 4, top: 4}
    emulator: {method: LayerDrop, blocks: [8, 11, 14], heal: [true, false]}
    training: [null, {steps: 200, batchSize: 8}]

stands for 12 settings. A list may hold whole sections too, such as emulators of two methods.
"""

from collections.abc import Iterator
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from offsite.api import DistillTraining, Emulator, Ends
from offsite.api.problems import problems
from offsite.api.values import Section
from offsite.config import read_yaml
from offsite.errors import SpecError

_MOST = 500
"""Settings in a sweep. Each takes minutes or more, so a larger one is a mistake."""
_LOCATIONS = (("training", "corpus"), ("emulator", "calibration"))


class Candidate(Section):
    """The sections of a Distill job that decide the emulator."""

    ends: Ends = Ends()
    """Blocks at both ends that are never compressed."""
    emulator: Emulator
    """How the middle of the model is compressed."""
    training: DistillTraining | None = None
    """Distillation of the emulator; absent: none."""


def read_sweep(path: Path, corpus: str) -> list[Candidate]:
    """Read a sweep from a YAML or JSON file, and list its settings in order, each once.

    Args:
        corpus: Location of the text to heal and distil on, which is that of all settings.

    Raises:
        InputError: The file does not exist, or is not readable.
        SpecError: It is not YAML, stands for no setting or for too many, or a setting is not valid;
            lists all problems with their paths.
    """
    content = read_yaml(path, "sweep")
    if found := list(_misfits(content)):
        raise SpecError(str(path), found, "sweep")
    candidates: list[Candidate] = []
    found = []
    for each in _alternatives(content):
        try:
            candidates.append(Candidate.model_validate(_with_corpus(each, corpus), by_name=False))
        except ValidationError as error:
            found.extend(problems(error))
    if found:
        raise SpecError(str(path), list(dict.fromkeys(found)), "sweep")
    return [each for i, each in enumerate(candidates) if each not in candidates[:i]]


def _misfits(content: Any) -> Iterator[str]:
    """List what is wrong with a sweep as a whole."""
    if not isinstance(content, dict):
        yield "it must be an object with the fields ends, emulator and training"
        return
    count = _count(content)
    if count == 0:
        yield "a list is empty, so there is no setting; give it a value, or remove the field"
    if count > _MOST:
        yield f"it stands for {count} settings, and {_MOST} are the most; shorten its lists"
    for section, field in _LOCATIONS:
        if any(field in each for each in _sections(content.get(section))):
            yield f"{section}.{field}: --corpus names the text of a sweep; remove it"


def _sections(content: Any) -> Iterator[dict[str, Any]]:
    """List the objects in a value and its lists."""
    if isinstance(content, list):
        for each in content:
            yield from _sections(each)
    elif isinstance(content, dict):
        yield content


def _with_corpus(content: dict[str, Any], corpus: str) -> dict[str, Any]:
    training = content.get("training")
    if not isinstance(training, dict):
        return content
    return {**content, "training": {**training, "corpus": corpus}}


def _count(content: Any) -> int:
    """Count the alternatives of a value without listing them."""
    if isinstance(content, list):
        return sum(_count(each) for each in content)
    if isinstance(content, dict):
        return prod(_count(each) for each in content.values())
    return 1


def _alternatives(content: Any) -> list[Any]:
    """List what a value stands for: elements of a list, choices of each field of an object."""
    if isinstance(content, list):
        return [each for choice in content for each in _alternatives(choice)]
    if isinstance(content, dict):
        choices = product(*(_alternatives(value) for value in content.values()))
        return [dict(zip(content, chosen, strict=True)) for chosen in choices]
    return [content]
