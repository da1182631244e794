"""Reading job files and policies: YAML 1.2 in, types out, every problem reported at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from offsite.api import PATTERN_MEANING, Limits, OffsiteJob
from offsite.errors import SpecError

_LONGEST_SHOWN = 100


def load_job(path: Path) -> OffsiteJob:
    """Read one job from a YAML or JSON file.

    Raises:
        SpecError: no such file, no YAML, or a job with unknown, missing or wrong fields; the error
            lists all of them, each with its path.
    """
    return parse_job(_yaml(path, "job"), source=str(path))


def load_policy(path: Path) -> Limits:
    """Read what an organization allows its jobs; the defaults where there is no such file.

    Raises:
        SpecError: no YAML, or unknown or wrong fields; the error lists all of them.
    """
    if not (path.exists() or path.is_symlink()):
        return Limits()
    content = _yaml(path, "policy")
    try:
        # a file of comments alone sets nothing
        return Limits.model_validate({} if content is None else content, by_name=False)
    except ValidationError as error:
        raise SpecError(str(path), _problems(error), "policy") from error


def _yaml(path: Path, what: str) -> Any:
    with reading(str(path), what):
        return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))


@contextmanager
def reading(source: str, what: str = "job") -> Iterator[None]:
    """Turn what goes wrong while YAML is read into an error that names its source.

    Args:
        what: it should be.

    Raises:
        SpecError: it cannot be read, or is no YAML.
    """
    try:
        yield
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(source, [f"cannot be read: {error}"], what) from error
    except RecursionError as error:
        raise SpecError(source, ["is nested too deeply"], what) from error
    # ValueError: a date or a number that YAML knows, but Python does not
    except (YAMLError, ValueError) as error:
        told = " ".join(str(error).split())
        raise SpecError(source, [f"is not YAML: {told}"], what) from error


def parse_job(content: Any, *, source: str) -> OffsiteJob:
    """Check a job's content as read from YAML or JSON; `source` names it in errors.

    Raises:
        SpecError: unknown, missing or wrong fields.
    """
    try:
        return OffsiteJob.model_validate(content)
    except ValidationError as error:
        raise SpecError(source, _problems(error)) from error


def _problems(error: ValidationError) -> list[str]:
    return [_problem(detail) for detail in error.errors(include_url=False)]


def _problem(detail: ErrorDetails) -> str:
    path = ".".join(str(part) for part in detail["loc"]) or "(top level)"
    kind, given = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        return f"{path}: unknown field; remove it"
    if kind == "missing":
        return f"{path}: required, but missing"
    message = detail["msg"].removeprefix("Value error, ")
    message = message.replace("Input should be", "must be").replace("String should", "must")
    if kind == "string_pattern_mismatch":
        message = f"must be {PATTERN_MEANING[str(detail['ctx']['pattern'])]}"
    shown = "" if isinstance(given, dict | list) else f" (it is {_cut(repr(given))})"
    return f"{path}: {message}{shown}"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
