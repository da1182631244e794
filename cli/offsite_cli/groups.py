"""Groups of options that several commands share, which Typer itself does not have."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from typing import Any, TypeVar

R = TypeVar("R")


def grouped(function: Callable[..., R]) -> Callable[..., R]:
    """Let a command take groups: each field of a parameter that is a dataclass is an option.

    A group may hold groups. In the help they stand behind the command's own options.
    """
    options = sorted(_options(function), key=lambda option: option.kind)

    def command(**given: Any) -> R:
        return function(**_arguments(function, given))

    command.__doc__, command.__name__ = function.__doc__, function.__name__
    command.__annotations__ = {each.name: each.annotation for each in options}  # noqa: V101
    signature = inspect.Signature([o.replace(kind=inspect.Parameter.KEYWORD_ONLY) for o in options])
    command.__signature__ = signature  # type: ignore[attr-defined]  # noqa: V101
    return command


def _options(called: Any) -> Iterator[inspect.Parameter]:
    """List the options, those of groups marked by their kind."""
    for each in inspect.signature(called, eval_str=True).parameters.values():
        if is_dataclass(each.annotation):
            inner = _options(each.annotation)
            yield from (option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in inner)
        else:
            yield each


def _arguments(called: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Put the groups together from what was given."""
    arguments = {}
    for each in inspect.signature(called, eval_str=True).parameters.values():
        group: Any = each.annotation
        grouped = is_dataclass(group)
        arguments[each.name] = group(**_arguments(group, given)) if grouped else given[each.name]
    return arguments
