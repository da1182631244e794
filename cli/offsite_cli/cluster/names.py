"""The names of jobs, as arguments that the shell completes."""

import logging
from typing import Annotated, Any

import typer

from offsite_cli.cluster.access import Target, connect
from offsite_cli.cluster.facts import name_of
from offsite_cli.cluster.jobs import list_jobs


def _complete(ctx: Any, incomplete: str) -> list[str]:
    """List jobs that begin so. Whatever goes wrong, the shell's line stays as it is."""
    logging.disable()
    given = {key: ctx.params.get(key) for key in ("namespace", "context", "kubeconfig")}
    try:
        items = list_jobs(connect(Target(**given)))["items"]
        return [name for each in items if (name := name_of(each)).startswith(incomplete)]
    except Exception:
        return []


JobName = Annotated[str, typer.Argument(help="The job.", autocompletion=_complete)]
JobNames = Annotated[list[str], typer.Argument(help="The jobs.", autocompletion=_complete)]
