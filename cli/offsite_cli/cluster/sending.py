"""Sending jobs to a cluster; the same job twice is one job."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from offsite.errors import InputError
from offsite_cli.cluster.access import Target, connect
from offsite_cli.cluster.differences import differences
from offsite_cli.cluster.errors import AlreadyThere
from offsite_cli.cluster.facts import Resource, name_of, state_of
from offsite_cli.cluster.jobs import get_job, path_of
from offsite_cli.cluster.view import View, show
from offsite_cli.cluster.watching import Timeout, watch_all
from offsite_cli.output import Output, say, show_text

if TYPE_CHECKING:
    from offsite_cli.cluster.api import Api
    from offsite_cli.cluster.files import Document


@dataclass(frozen=True)
class Sending:
    """What is done with jobs, and where."""

    target: Target
    timeout: Timeout
    files: Annotated[
        list[Path] | None,
        typer.Option("--filename", "-f", help="A job file, in the place of flags; `-` is stdin."),
    ] = None
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print the job, as YAML if -o says nothing else; send nothing."
        ),
    ] = False
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Watch it until it ends.")] = False
    view: Annotated[
        View | None, typer.Option("--output", "-o", help="The form; absent: a line a job.")
    ] = None


def send_files(sending: Sending, stage: str | None = None) -> None:
    """Send the jobs of files; every file is checked before the first job is sent.

    Raises:
        InputError: a file is wrong, holds a job of another stage, or one that differs from the
            job of its name that is there.
    """
    from offsite_cli.cluster.files import read_jobs

    documents = read_jobs(sending.files or [])
    for each in documents:
        if stage and each.job.spec.stage != stage:
            raise InputError(f"{each.source} is of stage {each.job.spec.stage}, not {stage}")
    _send(sending, documents)


def send_content(sending: Sending, content: Resource, source: str) -> None:
    """Send one job; `source` names it in errors."""
    from offsite_cli.cluster.files import checked

    _send(sending, [checked(content, source)])


def _send(sending: Sending, documents: list["Document"]) -> None:
    if sending.dry_run:
        _print(sending.view or View.YAML, documents)
        return
    api = connect(sending.target)
    for each in documents:
        each.check_namespace(api.namespace)
    sent = [_sent(api, each, sending.view) for each in documents]
    if sending.watch:
        output = Output.JSON if sending.view is View.JSON else Output.TEXT
        raise typer.Exit(watch_all(api, [name_of(each) for each in sent], output, sending.timeout))


def _print(view: View, documents: list["Document"]) -> None:
    """Show jobs as if they had been sent."""
    for at, each in enumerate(documents):
        if at and view is View.YAML:
            show_text("---")
        show(view, each.content)


def _sent(api: "Api", document: "Document", view: View | None) -> Resource:
    job, made = _created(api, document)
    name = name_of(job)
    if view is not None:
        show(view, job)
    elif made:
        show_text(f"{name} submitted")
    if not made:
        again = (
            "; to run it once more: offsite retry"
            if state_of(job) in ("Failed", "Cancelled")
            else ""
        )
        say(f"{name} is there already, with the same spec: {state_of(job)}{again}")
    return job


def _created(api: "Api", document: "Document") -> tuple[Resource, bool]:
    """Create a job, or find the same one there; tell which."""
    query = {"fieldValidation": "Strict", "fieldManager": "offsite"}
    name = document.job.metadata.name
    try:
        return api.create(path_of(api), document.content, **query), True
    except AlreadyThere:
        found = get_job(api, name)
    wanted: dict[str, Any] = document.job.spec.model_dump(
        mode="json", by_alias=True, exclude_none=True
    )
    if problems := differences(wanted, found["spec"]):
        raise InputError(
            f"a job {name} is there already, and differs; choose another name, or `offsite delete "
            f"{name}` first:",
            *problems,
        )
    return found, False
