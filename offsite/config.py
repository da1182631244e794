"""Reads job files and policies from YAML 1.2 and reports all problems at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.reader import ReaderError

from offsite.api import Limits, OffsiteJob
from offsite.api.problems import problems
from offsite.errors import InputError, SpecError


def load_job(path: Path) -> OffsiteJob:
    """Read one job from a YAML or JSON file.

    Raises:
        InputError: The file does not exist, or is not readable.
        SpecError: It is not YAML, or has unknown, missing or wrong fields; lists all of them with
            their paths.
    """
    return parse_job(read_yaml(path, "job"), source=str(path))


def load_policy(path: Path) -> Limits:
    """Read an organization's policy; the defaults if there is no such file.

    Raises:
        SpecError: It is not YAML, or has unknown or wrong fields; lists all of them.
    """
    if not (path.exists() or path.is_symlink()):
        return Limits()
    content = read_yaml(path, "policy")
    try:
        # a file with only comments sets nothing
        return Limits.model_validate({} if content is None else content, by_name=False)
    except ValidationError as error:
        raise SpecError(str(path), problems(error), "policy") from error


def read_yaml(path: Path, what: str) -> Any:
    """Read the content of a YAML or JSON file.

    Args:
        what: Kind of the file, for errors.

    Raises:
        InputError: The file does not exist, or is not readable.
        SpecError: It is not YAML.
    """
    with reading(str(path), what):
        return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))


@contextmanager
def reading(source: str, what: str = "job") -> Iterator[None]:
    """Translate errors of reading YAML to errors that name the source.

    Args:
        what: Kind of the file.

    Raises:
        InputError: The file does not exist, or is not readable.
        SpecError: It is not YAML.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"there is no {what} file {source}") from error
    except UnicodeDecodeError as error:
        raise SpecError(source, [f"it is not UTF-8 text: {error}"], what) from error
    except OSError as error:
        raise InputError(f"cannot read the {what} file {source}: {error.strerror}") from error
    except RecursionError as error:
        raise SpecError(source, ["it is nested too deeply"], what) from error
    # ValueError: a date or number that is valid in YAML, but not in Python
    except (YAMLError, ValueError) as error:
        raise SpecError(source, [_yaml_problem(error)], what) from error


def parse_job(content: Any, *, source: str, by_name: bool = False) -> OffsiteJob:
    """Validate a job's content, as read from YAML or JSON.

    Args:
        source: Names the content in errors.
        by_name: Whether fields may have their Python names, too.

    Raises:
        SpecError: It has unknown, missing or wrong fields.
    """
    try:
        return OffsiteJob.model_validate(content, by_name=by_name)
    except ValidationError as error:
        raise SpecError(source, problems(error)) from error


def _yaml_problem(error: YAMLError | ValueError) -> str:
    """Describe where and why a text is not YAML."""
    if isinstance(error, ReaderError):
        return (
            f"it is not YAML: character {error.position + 1} is U+{error.character:04X}, which "
            "YAML does not allow; remove it"
        )
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return f"it is not YAML: {' '.join(str(error).split())}"
    problem = " ".join(str(getattr(error, "problem", None) or error).split())
    if r"'\t'" in problem:
        problem = "indent with spaces, not tabs"
    if problem.startswith("found duplicate key"):  # without the values, which may be long
        problem = f"{problem.split(' with value ')[0]}; remove one of them"
    return f"it is not YAML: line {mark.line + 1}: {problem}"
