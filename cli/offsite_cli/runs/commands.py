"""`offsite runs`: list, show and compare the records of runs in a home."""

from typing import Annotated

import typer

from offsite.errors import InputError
from offsite.runs import Run, Runs, Stage
from offsite_cli.cluster.job_status import format_duration
from offsite_cli.options import HOME, Format, Home
from offsite_cli.output import Output, show_info, show_json, show_text
from offsite_cli.runs.comparison import compared, comparison_lines
from offsite_cli.runs.page import page
from offsite_cli.tables import align

app = typer.Typer(no_args_is_help=True, help="Show the records of runs on this machine.")

_COLUMNS = ["RUN", "STAGE", "PEER", "STARTED", "TOOK", "OUTCOME"]
_RUN = "The run: its id, the name of its job (its newest run), or the path of a record."
_SUMMARY = (
    *("id", "job", "stage", "party", "peer", "started", "ended", "duration", "attempts"),
    *("outcome", "error"),
)


@app.command("list")
def list_(
    job: Annotated[str | None, typer.Option(help="Only runs of the job with this name.")] = None,
    stage: Annotated[Stage | None, typer.Option(help="Only runs of this stage.")] = None,
    home: Home = HOME,
    output: Format = Output.TEXT,
) -> None:
    """List the runs on this machine, the newest last."""
    runs = [
        run
        for run in _runs(home).all(show_info)
        if job in (None, run.job) and stage in (None, run.stage)
    ]
    if output is Output.JSON:
        show_json([_summary(run) for run in runs])
    elif runs:
        show_text(*align([_COLUMNS, *map(_row, runs)]))
    else:
        show_info("no runs are recorded here yet")


@app.command()
def show(
    run: Annotated[str, typer.Argument(help=_RUN)],
    home: Home = HOME,
    output: Format = Output.TEXT,
) -> None:
    """Show the record of a run: inputs, figures, times, and what was sent.

    With --output json, prints the whole record, with the loss curves.
    """
    found = _runs(home).find(run, show_info)
    if output is Output.JSON:
        show_json(found.wire())
    else:
        show_text(*page(found))


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN RUN…", help=_RUN)],
    home: Home = HOME,
    output: Format = Output.TEXT,
) -> None:
    """Compare runs: the settings that differ, figures, times and sizes."""
    if len(runs) < 2:
        raise InputError("name at least two runs to compare; list them with `offsite runs list`")
    found = [_runs(home).find(each, show_info) for each in runs]
    if output is Output.JSON:
        show_json(compared(found))
    else:
        show_text(*comparison_lines(found))


def _runs(home: Home) -> Runs:
    return Runs(home.expanduser().resolve())


def _summary(run: Run) -> dict[str, object]:
    wire = run.wire()
    return {key: wire[key] for key in _SUMMARY}


def _row(run: Run) -> list[str]:
    times = [f"{run.started:%Y-%m-%d %H:%M:%S}Z", format_duration(run.duration)]
    return [run.id, run.stage, run.peer, *times, run.outcome]
