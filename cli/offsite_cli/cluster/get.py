"""`offsite list` and `offsite get`."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from offsite_cli.cluster.connection import Target, connect
from offsite_cli.cluster.jobs import JobNames, get_job, list_jobs
from offsite_cli.cluster.printing import OutputFormat, OutputOption, describe, show_jobs
from offsite_cli.options import grouped
from offsite_cli.output import show_info, show_text


@grouped
def list_(
    target: Target,
    all_namespaces: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="List the jobs of all namespaces.")
    ] = False,
    form: OutputOption = OutputFormat.TABLE,
) -> None:
    """List jobs. `-o wide` adds the reason of each state."""
    api = connect(target)
    found = list_jobs(api, all_namespaces=all_namespaces)
    if not found["items"] and form in (OutputFormat.TABLE, OutputFormat.WIDE):
        where = "any namespace" if all_namespaces else f"namespace {api.namespace}"
        show_info(f"no jobs in {where}")
        return
    show_jobs(form, found, all_namespaces=all_namespaces)


@grouped
def get(
    names: JobNames,
    target: Target,
    form: Annotated[
        OutputFormat | None,
        typer.Option("--output", "-o", help="Output format. Defaults to a page for each job."),
    ] = None,
) -> None:
    """Show the state of jobs, its reason, and their results."""
    api = connect(target)
    found = [get_job(api, name) for name in names]
    if form is not None:
        several = {"apiVersion": "v1", "kind": "List", "items": found}
        show_jobs(form, several if len(found) > 1 else found[0])
        return
    pages = [describe(job, datetime.now(UTC)) for job in found]
    for at, lines in enumerate(pages):
        show_text(*([""] if at else []), *lines)
