"""Renders the documents of a local task: its templates run in a sandbox, never in lm-eval.

lm-eval renders templates with a plain Jinja environment, in which `{{ ''.__class__… }}` runs code.
It gets columns with the finished text instead.
"""

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jinja2 import StrictUndefined, TemplateError
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from offsite.errors import DataError
from offsite.harness.documents import Document
from offsite.harness.taskfile import TaskFile

_DIGITS = re.compile(r"[0-9]{1,9}")
_Render = Callable[[Document], Any]

CONFIG: Mapping[str, str] = {
    "description": "description",
    "doc_to_text": "text",
    "doc_to_target": "target",
}
"""Which column lm-eval takes each field from; of multiple choice also `doc_to_choice: choices`."""


def render(task: TaskFile, documents: Sequence[Document], name: str) -> list[Document]:
    """Render the documents of one split.

    Returns:
        Documents with the columns of `CONFIG`, and of multiple choice `choices`: texts, of which
        `target` is the number of the right one.

    Raises:
        DataError: A template is invalid, reaches for what the sandbox hides, names a column that is
            not there, or does not give what its field needs.
    """
    fields = {
        "description": _field(task.description, "description", name),
        "text": _field(task.doc_to_text, "doc_to_text", name),
        "target": _field(task.doc_to_target, "doc_to_target", name),
    }
    choices = task.doc_to_choice
    choose = _field(choices, "doc_to_choice", name) if isinstance(choices, str) else None
    found = []
    for number, document in enumerate(documents):
        where = f"{name}[{number}]"
        made = {column: give(document) for column, give in fields.items()}
        if task.output_type == "multiple_choice":
            made["choices"] = _choices(choose(document) if choose else choices, where)
            rendered = task.doc_to_target not in document
            made["target"] = _answer(made["target"], made["choices"], where, rendered=rendered)
        _check_texts(made, where)
        found.append(made)
    return found


def _field(template: str | int, field: str, name: str) -> _Render:
    """Return what renders a field: a column of its name, or a template."""
    if isinstance(template, int):
        return lambda _: template
    # no loader: nothing can be included or imported; nodes of a template cannot be changed
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, keep_trailing_newline=True
    )
    try:
        compiled = environment.from_string(template)
    except (TemplateError, RecursionError) as error:
        raise DataError(f"{name}: the template of {field} is not valid: {error}") from error

    def rendered(document: Document) -> Any:
        if template in document:
            return document[template]
        try:
            return compiled.render(document)
        except SecurityError as error:
            raise DataError(
                f"{name}: the template of {field} reaches for what templates may not use: {error}"
            ) from error
        except Exception as error:  # a template raises what the values in it raise
            raise DataError(
                f"{name}: the template of {field} fails ({type(error).__name__}: "
                f"{str(error)[:200]}); the columns are {', '.join(map(str, sorted(document)))}"
            ) from error

    return rendered


def _choices(found: Any, where: str) -> list[str]:
    if isinstance(found, str):
        try:
            found = ast.literal_eval(found)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            found = None
    if not isinstance(found, list) or not all(isinstance(e, str) and e for e in found) or not found:
        raise DataError(f"{where}: doc_to_choice must give a list of texts, none of them empty")
    return found


def _answer(target: Any, choices: Sequence[str], where: str, *, rendered: bool) -> int:
    """Find the number of the right choice, from its number or its text, as lm-eval does.

    Args:
        rendered: Whether the target is of a template: digits are a number then, not a text.
    """
    if rendered and isinstance(target, str) and _DIGITS.fullmatch(target):
        target = int(target)
    if isinstance(target, str) and target in choices:
        target = choices.index(target)
    if isinstance(target, bool) or not isinstance(target, int) or not 0 <= target < len(choices):
        raise DataError(
            f"{where}: doc_to_target must give the number of the right choice, from 0 to "
            f"{len(choices) - 1}, or its text"
        )
    return target


def _check_texts(made: Document, where: str) -> None:
    for column in ("description", "text", "target"):
        if column == "target" and "choices" in made:
            continue
        if not isinstance(made[column], str):
            raise DataError(f"{where}: the {column} is not a text; see doc_to_{column}")
    if made["target"] == "":
        raise DataError(f"{where}: the target is empty; see doc_to_target")
