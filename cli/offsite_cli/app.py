"""The app `offsite`: its commands, and the one place where errors become exit codes."""

import logging
import sys
from pathlib import Path
from typing import Annotated, ClassVar

import typer

import offsite
from offsite.errors import OffsiteError
from offsite.process.lifetime import leave
from offsite.text import guard_output
from offsite_cli.lazy import LazyGroup
from offsite_cli.output import complain, show_text


class Commands(LazyGroup):
    """The commands, in the order of the help; a test compares each line with the command's own."""

    table: ClassVar = {
        "run": ("run:run", "Run the stage of a job file here and publish its result."),
        "demo": (
            "demo:demo",
            "Play both parties on this machine, with a real model and real text.",
        ),
        "submit": ("cluster.submit:app", "Submit a job, from flags or from a file: -f FILE."),
        "list": ("cluster.looking:list_", "List jobs."),
        "get": ("cluster.looking:get", "Show where jobs stand, why, and what they have brought."),
        "watch": ("cluster.watching:watch", "Watch a job until it ends; the exit code says how."),
        "logs": ("cluster.logs:logs", "Show what a job's pods say."),
        "events": (
            "cluster.events:events",
            "Show the events of a job and its pods, the last one last.",
        ),
        "cancel": ("cluster.changes:cancel", "Stop jobs, and keep their records."),
        "suspend": ("cluster.changes:suspend", "Stop jobs for a while."),
        "resume": ("cluster.changes:resume", "Let jobs go on that were suspended."),
        "retry": ("cluster.changes:retry", "Run jobs that failed or were cancelled once more."),
        "delete": ("cluster.changes:delete", "Delete jobs with all that they run."),
        "doctor": (
            "cluster.doctor:doctor",
            "Check that cluster and namespace have what jobs need.",
        ),
        "keys": ("keys:app", "Your own keys."),
        "peers": ("peers:app", "The keys of others."),
        "bundles": ("bundles:app", "Sealed bundles in the exchange."),
        "exchange": (
            "exchange:app",
            "Set up an exchange: its bucket, an account for each party, who may read from whom.",
        ),
        "private": (
            "private:app",
            "Your own store in S3: set it up, put models and data there, see what is in it.",
        ),
    }


app = typer.Typer(
    name="offsite",
    cls=Commands,
    help="Tune a model that you may not see, on data that nobody else may see.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        show_text(offsite.__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[  # noqa: V107 - its callback has it
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Tune a model that you may not see, on data that nobody else may see."""


def main() -> None:
    """Run the command line; exit codes are those of `offsite.errors`."""
    guard_output()
    plugin = Path(sys.argv[0]).name == "kubectl-offsite"
    # it tells of each retry in words of its own
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    try:
        app(prog_name="kubectl offsite" if plugin else None)
    except OffsiteError as error:
        complain(error)
        leave(error.exit_code)
    except SystemExit as ending:
        if isinstance(ending.code, int):
            leave(ending.code)
        raise
