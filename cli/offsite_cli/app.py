"""The app `offsite`: its commands, and the one place where errors become exit codes."""

import logging
import sys
from typing import Annotated

import typer

import offsite
from offsite.errors import OffsiteError
from offsite_cli import bundles, demo, exchange, keys, peers, private, run
from offsite_cli.output import complain

app = typer.Typer(
    name="offsite",
    help="Tune a model that you may not see, on data that nobody else may see.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.run)
app.command("demo")(demo.demo)
app.add_typer(keys.app, name="keys")
app.add_typer(peers.app, name="peers")
app.add_typer(bundles.app, name="bundles")
app.add_typer(exchange.app, name="exchange")
app.add_typer(private.app, name="private")


def _version(wanted: bool) -> None:
    if wanted:
        print(offsite.__version__)
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
    # it tells of each retry in words of its own
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    try:
        app()
    except OffsiteError as error:
        complain(str(error))
        sys.exit(error.exit_code)
