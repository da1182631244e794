"""`offsite list` and `offsite get`."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from offsite_cli.cluster.access import Target, connect
from offsite_cli.cluster.jobs import get_job, list_jobs
from offsite_cli.cluster.names import JobNames
from offsite_cli.cluster.rows import page
from offsite_cli.cluster.view import View, Viewed, show
from offsite_cli.groups import grouped
from offsite_cli.output import say, show_text


@grouped
def list_(
    target: Target,
    everywhere: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="Of every namespace.")
    ] = False,
    view: Viewed = View.TABLE,
) -> None:
    """List jobs. `-o wide` says why each is in its state."""
    api = connect(target)
    found = list_jobs(api, everywhere=everywhere)
    if not found["items"] and view in (View.TABLE, View.WIDE):
        say(f"no jobs in {'any namespace' if everywhere else f'namespace {api.namespace}'}")
        return
    show(view, found, everywhere=everywhere)


@grouped
def get(
    names: JobNames,
    target: Target,
    view: Annotated[
        View | None, typer.Option("--output", "-o", help="The form; absent: a page to read.")
    ] = None,
) -> None:
    """Show where jobs stand, why, and what they have brought."""
    api = connect(target)
    found = [get_job(api, name) for name in names]
    if view is not None:
        several = {"apiVersion": "v1", "kind": "List", "items": found}
        show(view, several if len(found) > 1 else found[0])
        return
    pages = [page(job, datetime.now(UTC)) for job in found]
    for at, lines in enumerate(pages):
        show_text(*([""] if at else []), *lines)
