"""Create jobs on a cluster. Submitting the same job twice is not an error."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from offsite.errors import InputError
from offsite_cli.cluster.connection import Target, connect
from offsite_cli.cluster.errors import AlreadyExists
from offsite_cli.cluster.identity import AUTHOR, known_user
from offsite_cli.cluster.job_status import Resource, name_of, state_of
from offsite_cli.cluster.jobs import get_job, path_of
from offsite_cli.cluster.printing import OutputFormat, show_jobs
from offsite_cli.cluster.watch import Timeout, watch_all
from offsite_cli.output import Output, show_info, show_text

if TYPE_CHECKING:
    from offsite_cli.cluster.api import Api
    from offsite_cli.cluster.submit.documents import Document


@dataclass(frozen=True)
class SubmitOptions:
    """The options that say where jobs go, and what to print."""

    target: Target
    timeout: Timeout
    files: Annotated[
        list[Path] | None,
        typer.Option("--filename", "-f", help="Job file to submit; - reads stdin. Repeatable."),
    ] = None
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the job (YAML by default) without submitting it."),
    ] = False
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Watch the job until it ends.")] = (
        False
    )
    form: Annotated[
        OutputFormat | None,
        typer.Option("--output", "-o", help="Output format. Defaults to one line for each job."),
    ] = None


def submit_files(options: SubmitOptions, stage: str | None = None) -> None:
    """Submit the jobs of files; every file is validated before the first job is sent.

    Args:
        stage: the only stage that the jobs may have; None allows all.

    Raises:
        InputError: a file is invalid, a job is of another stage, or a different job of the same
            name exists.
    """
    from offsite_cli.cluster.submit.documents import read_documents

    documents = read_documents(options.files or [])
    for each in documents:
        if stage and each.job.spec.stage != stage:
            raise InputError(
                f"{each.source} is a job of stage {each.job.spec.stage}, not {stage}; submit it "
                f"with: offsite submit -f {each.source}"
            )
    _submit(options, documents)


def submit_content(options: SubmitOptions, content: Resource, source: str) -> None:
    """Submit one job; errors call it `source`."""
    from offsite_cli.cluster.submit.documents import check_document

    _submit(options, [check_document(content, source)])


def _submit(options: SubmitOptions, documents: list["Document"]) -> None:
    if options.dry_run:
        _print(options.form or OutputFormat.YAML, documents)
        for problem in (problem for each in documents for problem in each.out_of_reach):
            show_info(f"only for `offsite run`: {problem}")
        return
    for each in documents:
        each.check_reachable()
    api = connect(options.target)
    for each in documents:
        each.check_namespace(api.namespace)
    jobs = [_submit_one(api, each, options.form) for each in documents]
    if options.watch:
        output = Output.JSON if options.form is OutputFormat.JSON else Output.TEXT
        raise typer.Exit(watch_all(api, [name_of(each) for each in jobs], output, options.timeout))


def _print(form: OutputFormat, documents: list["Document"]) -> None:
    for at, each in enumerate(documents):
        if at and form is OutputFormat.YAML:
            show_text("---")
        show_jobs(form, each.content)


def _submit_one(api: "Api", document: "Document", form: OutputFormat | None) -> Resource:
    job, created = _create_or_get(api, document)
    name = name_of(job)
    if form is not None:
        show_jobs(form, job)
    elif created:
        show_text(f"{name} submitted")
    if not created:
        ended = state_of(job) in ("Failed", "Cancelled")
        again = f"; to run it again: offsite retry {name}" if ended else ""
        show_info(f"{name} already exists with the same spec: {state_of(job)}{again}")
    return job


def with_author(content: Resource, user: str | None) -> Resource:
    """Add the user who submits a job to its annotations, for an approval by another user."""
    metadata = content["metadata"]
    given = metadata.get("annotations") or {}
    if user is None or AUTHOR in given:
        return content
    return {**content, "metadata": {**metadata, "annotations": {**given, AUTHOR: user}}}


def _create_or_get(api: "Api", document: "Document") -> tuple[Resource, bool]:
    """Create a job, or get the one with the same name and spec; returns whether it was created.

    Raises:
        InputError: a job of that name exists with another spec.
    """
    from offsite_cli.cluster.submit.documents import spec_differences

    query = {"fieldValidation": "Strict", "fieldManager": "offsite"}
    name, content = document.job.metadata.name, with_author(document.content, known_user(api))
    try:
        return api.create(path_of(api), content, **query), True
    except AlreadyExists:
        found = get_job(api, name)
    wanted: dict[str, Any] = document.job.spec.model_dump(
        mode="json", by_alias=True, exclude_none=True
    )
    if problems := spec_differences(wanted, found["spec"]):
        raise InputError(
            f"job {name} already exists with another spec; choose another name, or run `offsite "
            f"delete {name}` first; these fields differ:",
            *problems,
        )
    return found, False
