"""Spans of time as kubectl's options have them."""

import re
from typing import Any

import typer

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


def span(help_text: str) -> Any:
    """Make an option that is a span of time; its value is in seconds."""
    return typer.Option(parser=seconds, metavar="<duration>", help=help_text)


def seconds(text: str) -> float:
    """Read `30`, `30s`, `10m` or `2h`; give seconds.

    Raises:
        typer.BadParameter: it is none of these.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is no duration such as 30s, 10m or 2h")
    return float(found[1]) * _UNITS[found[2]]
