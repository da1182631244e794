"""The entry points `offsite` and `kubectl_complete-offsite`; errors become exit codes here."""

import logging
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

import offsite
from offsite.errors import OffsiteError
from offsite.process.lifetime import leave
from offsite.text import guard_output
from offsite_cli.commands import Commands
from offsite_cli.output import show_error, show_text

_SUMMARY = "Tune a model that you may not see, on data that its owner may not see."
_NO_FILES = ":4"
"""Tells kubectl not to offer file names where there is no candidate."""

app = typer.Typer(
    name="offsite",
    cls=Commands,
    help=_SUMMARY,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line; the exit codes are those of `offsite.errors`."""
    guard_output()
    plugin = Path(sys.argv[0]).name == "kubectl-offsite"
    # retries are reported in our own words
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    try:
        app(prog_name="kubectl offsite" if plugin else None)
    except OffsiteError as error:
        show_error(error)
        leave(error.exit_code)
    except SystemExit as ending:
        if isinstance(ending.code, int):
            leave(ending.code)
        raise


def complete() -> None:
    """Print candidates for the last word of `kubectl offsite …`, as kubectl expects them.

    kubectl passes the words after `offsite`. It reads one candidate a line, and then a directive.
    """
    words = sys.argv[1:] or [""]
    os.environ["_OFFSITE_COMPLETE"] = "complete_bash"
    os.environ["COMP_WORDS"] = shlex.join(["offsite", *words])
    os.environ["COMP_CWORD"] = str(len(words))
    try:
        app(prog_name="offsite")
    finally:
        show_text(_NO_FILES)


def _print_version(wanted: bool) -> None:
    if wanted:
        show_text(offsite.__version__)
        raise typer.Exit


@app.callback(help=_SUMMARY)
def _options(
    version: Annotated[  # noqa: V107 - its callback has it
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None: ...
