"""How resources are written, by kubectl's names."""

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from offsite_cli.cluster.facts import Resource, name_of
from offsite_cli.cluster.rows import HEAD, WIDE, aligned, row, wide_row
from offsite_cli.output import show_json, show_text, show_yaml


class View(StrEnum):
    """The forms that `-o` knows."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


Viewed = Annotated[View, typer.Option("--output", "-o", help="The form of the result.")]


def show(view: View, resource: Resource, *, everywhere: bool = False) -> None:
    """Write a job, or a list of jobs, to stdout; `everywhere`: with the namespace of each."""
    items = resource.get("items", [resource])
    if view in (View.JSON, View.YAML):
        write(view, _bare(resource))
    elif view is View.NAME:
        for each in items:
            show_text(f"offsitejob.offsite-tuning.dev/{name_of(each)}")
    else:
        show_text(*aligned(_rows(items, view, everywhere=everywhere)))


def write(view: View, content: Any) -> None:
    """Write plain content as JSON, or as YAML."""
    (show_json if view is View.JSON else show_yaml)(content)


def _rows(items: Sequence[Resource], view: View, *, everywhere: bool) -> list[list[str]]:
    now, make = datetime.now(UTC), row if view is View.TABLE else wide_row
    rows = [list(HEAD if view is View.TABLE else WIDE), *(make(each, now) for each in items)]
    spaces = ["NAMESPACE", *(str(each["metadata"].get("namespace")) for each in items)]
    return (
        [[space, *cells] for space, cells in zip(spaces, rows, strict=True)] if everywhere else rows
    )


def _bare(resource: Resource) -> Resource:
    """Leave out who set which field, as kubectl does."""
    if "items" in resource:
        return {**resource, "items": [_bare(each) for each in resource["items"]]}
    metadata = {k: v for k, v in resource["metadata"].items() if k != "managedFields"}
    return {**resource, "metadata": metadata}
