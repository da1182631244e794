"""Turns pydantic's validation errors into messages for users."""

import json
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import cache
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from offsite.api.emulators import METHOD_TAG
from offsite.api.job import OffsiteJob
from offsite.api.limits import Limits
from offsite.api.values import PATTERN_MEANING

_WITH_FIELD = re.compile(r"Value error, ((?:[a-z][A-Za-z]*\.)*[a-z][A-Za-z]*): (.*)", re.DOTALL)
"""Message of a section's validator about one of its fields."""
_LONGEST_SHOWN = 100
_MOST_SHOWN = 5
_MOST_IN_EXAMPLE = 3


def problems(error: ValidationError) -> list[str]:
    """List what is wrong, each with its path."""
    return [_problem(detail) for detail in error.errors(include_url=False)]


def reason(error: Exception) -> str:
    """Summarize on one line why something could not be read, with the first few problems."""
    if not isinstance(error, ValidationError):
        return " ".join(str(error).split())
    found = problems(error)
    more = f"; and {len(found) - _MOST_SHOWN} more" if len(found) > _MOST_SHOWN else ""
    return "; ".join(found[:_MOST_SHOWN]) + more


def _problem(detail: ErrorDetails) -> str:
    path, kind, given = _path(detail), detail["type"], detail["input"]
    if found := _WITH_FIELD.fullmatch(detail["msg"]):
        return f"{path}.{found[1]}: {found[2]}".lstrip(".")
    if kind == "json_invalid":
        return f"{f'{path}: ' if path else ''}it is not JSON: {detail['ctx']['error']}"
    path = path or "(top level)"
    if kind == "extra_forbidden":
        return f"{path}: unknown field; {_remedy(str(detail['loc'][-1]))}"
    if kind in ("missing", "union_tag_not_found"):
        return f"{path}: required, but missing"
    if kind == "union_tag_invalid":
        given = detail["ctx"]["tag"].removeprefix(METHOD_TAG)
    shown = "" if isinstance(given, dict | list) else f" (it is {_cut(_shown(given))})"
    return f"{path}: {_expected(detail)}{shown}"


def _path(detail: ErrorDetails) -> str:
    """Return the path of a field in its file, without the members of unions."""
    parts = [str(part) for part in detail["loc"] if not str(part).startswith(METHOD_TAG)]
    if not detail["type"].startswith("union_tag"):
        return ".".join(parts)
    context = detail["ctx"]  # of the field that names the member
    is_method = str(context.get("tag", "")).startswith(METHOD_TAG)
    return ".".join([*parts, "method" if is_method else context["discriminator"].strip("'")])


def _expected(detail: ErrorDetails) -> str:
    """Describe the expected value."""
    kind, given, context = detail["type"], detail["input"], detail.get("ctx", {})
    meaning = PATTERN_MEANING.get(str(context.get("pattern")))
    if kind == "string_pattern_mismatch" and meaning:
        return f"must be {meaning}"
    if kind.startswith(("model", "dict")):
        fields = _known_fields().get(str(context.get("class_name")), ())
        return _expected_object(fields)
    if kind == "union_tag_invalid":
        return f"must be {context['expected_tags'].replace(METHOD_TAG, '').replace(', ', ' or ')}"
    if kind == "bool_type":
        return "must be true or false" + (", without quotes" if given in ("true", "false") else "")
    if kind == "string_type":
        return "must be text" + ("" if given is None else ", in quotes")
    if kind in ("int_type", "float_type"):
        what = "a whole number" if kind == "int_type" else "a number"
        quoted = isinstance(given, str) and given.replace(".", "", 1).isdecimal()
        return f"must be {what}" + (", without quotes" if quoted else "")
    message = detail["msg"].removeprefix("Value error, ")
    message = message.replace("Input should be", "must be")
    return message.replace("String should", "must").replace("List should", "must")


def _expected_object(fields: Sequence[str]) -> str:
    if not fields:
        return "must be an object"
    example = ", ".join(f"{name}: …" for name in fields)
    few = f", such as {{{example}}}" if len(fields) <= _MOST_IN_EXAMPLE else ""
    return f"must be an object with the fields {', '.join(fields)}{few}"


def _remedy(field: str) -> str:
    """Suggest the field that was meant."""
    known = {name for names in _known_fields().values() for name in names}
    camel = to_camel(field) if "_" in field else field
    near = get_close_matches(camel, known, n=1, cutoff=0.75)
    return f"did you mean {near[0]}?" if near and near[0] != field else "remove it"


@cache
def _known_fields() -> dict[str, tuple[str, ...]]:
    """List the fields of all types of jobs and policies, by the types' names."""
    return dict((*_fields(OffsiteJob), *_fields(Limits)))


def _fields(kind: type[BaseModel]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """List the fields of a type and of the sections in it, by the types' names."""
    yield kind.__name__, tuple(field.alias or name for name, field in kind.model_fields.items())
    for field in kind.model_fields.values():
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from _fields(inner)


def _shown(given: object) -> str:
    """Show a value as its file has it."""
    if given is None or isinstance(given, bool):
        return json.dumps(given)
    return repr(given) if isinstance(given, str) else str(given)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
