"""What is wrong with something that was read, in words for whoever wrote it."""

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from offsite.api.values import PATTERN_MEANING

_LONGEST_SHOWN = 100
_MOST_SHOWN = 5


def problems(error: ValidationError) -> list[str]:
    """List what is wrong, each with its path."""
    return [_problem(detail) for detail in error.errors(include_url=False)]


def reason(error: Exception) -> str:
    """Say on one line why something could not be read: the first few problems of its fields."""
    if not isinstance(error, ValidationError):
        return " ".join(str(error).split())
    found = problems(error)
    more = f"; and {len(found) - _MOST_SHOWN} more" if len(found) > _MOST_SHOWN else ""
    return "; ".join(found[:_MOST_SHOWN]) + more


def _problem(detail: ErrorDetails) -> str:
    path = ".".join(str(part) for part in detail["loc"])
    kind, given, message = detail["type"], detail["input"], detail["msg"]
    if kind == "json_invalid":
        return f"{f'{path}: ' if path else ''}it is not JSON: {detail['ctx']['error']}"
    path = path or "(top level)"
    if kind == "extra_forbidden":
        return f"{path}: unknown field; remove it"
    if kind == "missing":
        return f"{path}: required, but missing"
    message = message.removeprefix("Value error, ")
    message = message.replace("Input should be", "must be").replace("String should", "must")
    if kind == "string_pattern_mismatch":
        meaning = PATTERN_MEANING.get(str(detail["ctx"]["pattern"]))
        message = f"must be {meaning}" if meaning else message
    if kind.startswith(("model", "dict")):
        message = "must be an object"
    shown = "" if isinstance(given, dict | list) else f" (it is {_cut(repr(given))})"
    return f"{path}: {message}{shown}"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
