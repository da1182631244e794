"""Options that several commands share, and groups of options, which Typer does not have."""

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from offsite_cli.output import Output

R = TypeVar("R")

Home = Annotated[
    Path,
    typer.Option(envvar="OFFSITE_HOME", help="Your own folder, with your keys, peers and records."),
]
Exchange = Annotated[
    str,
    typer.Option(
        envvar="OFFSITE_EXCHANGE", help="Address of the exchange: file:///folder or s3://bucket."
    ),
]
LocalApprovals = Annotated[
    Path | None,
    typer.Option(
        envvar="OFFSITE_APPROVALS",
        help="Folder of egress reports and verdicts on this machine, which you share with the "
        "approvers. Defaults to the folder approvals in --home.",
    ),
]
Format = Annotated[Output, typer.Option("--output", "-o", help="Output format.")]

HOME = Path("~/.offsite")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


def grouped(function: Callable[..., R]) -> Callable[..., R]:
    """Let a command take groups: each field of a parameter that is a dataclass is an option.

    A group may hold groups. The help lists their options after the command's own.
    """
    options = sorted(_options(function), key=lambda option: option.kind)

    def command(**given: Any) -> R:
        return function(**_arguments(function, given))

    command.__doc__, command.__name__ = function.__doc__, function.__name__
    command.__annotations__ = {each.name: each.annotation for each in options}  # noqa: V101
    signature = inspect.Signature([o.replace(kind=inspect.Parameter.KEYWORD_ONLY) for o in options])
    command.__signature__ = signature  # type: ignore[attr-defined]  # noqa: V101
    return command


def duration_option(help_text: str) -> Any:
    """Make an option that takes a duration, and gives seconds."""
    return typer.Option(parser=parse_duration, metavar="<duration>", help=help_text)


def private_option(more: str) -> Any:
    """Make the option --private.

    Args:
        more: What the command does with the store.
    """
    return typer.Option(
        help="Address of a cluster's private store, as in the chart's private.uri: "
        f"s3://bucket/prefix or file:///folder. {more}"
    )


def parse_duration(text: str) -> float:
    """Parse `30`, `30s`, `10m` or `2h` into seconds.

    Raises:
        typer.BadParameter: the text is not a duration.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is not a duration such as 30s, 10m or 2h")
    return float(found[1]) * _UNITS[found[2]]


def _options(called: Any) -> Iterator[inspect.Parameter]:
    """List the options, those of groups marked by their kind."""
    for each in inspect.signature(called, eval_str=True).parameters.values():
        if is_dataclass(each.annotation):
            inner = _options(each.annotation)
            yield from (option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in inner)
        else:
            yield each


def _arguments(called: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Build the groups from the values of their options."""
    arguments = {}
    for each in inspect.signature(called, eval_str=True).parameters.values():
        group: Any = each.annotation
        is_group = is_dataclass(group)
        arguments[each.name] = group(**_arguments(group, given)) if is_group else given[each.name]
    return arguments
