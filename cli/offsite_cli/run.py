"""`offsite run`: one stage, in this process."""

from pathlib import Path
from typing import Annotated

import typer

from offsite.config import load_job
from offsite.store import FolderExchange
from offsite_cli.output import Output, monitored

Id = Annotated[str, typer.Option("--party", envvar="OFFSITE_PARTY", help="Who you are: your id.")]
Home = Annotated[
    Path,
    typer.Option(envvar="OFFSITE_HOME", help="Your own folder: records, work, plugged-in models."),
]
Exchange = Annotated[
    str, typer.Option(envvar="OFFSITE_EXCHANGE", help="The exchange point: file:///folder.")
]


def run(
    file: Annotated[Path, typer.Argument(help="A job file: an OffsiteJob in YAML.")],
    party: Id,
    exchange: Exchange,
    home: Home = Path("~/.offsite"),
    output: Annotated[Output, typer.Option("--output", "-o")] = Output.TEXT,
    checkpoint_seconds: Annotated[
        float, typer.Option(min=0.0, help="Time between two checkpoints.")
    ] = 60.0,
) -> None:
    """Run the stage of a job file here and publish its result.

    Stopped by a signal, or killed, it goes on from its last checkpoint when run again.
    """
    with monitored(output) as monitor:
        job = load_job(file)
        # torch takes seconds to import, so only what needs it does so
        from offsite.stages import Party, run_job

        someone = Party.named(
            party,
            home=home.expanduser().resolve(),
            exchange=FolderExchange.from_uri(exchange),
            base=file.resolve().parent,
            checkpoint_seconds=checkpoint_seconds,
        )
        run_job(job, someone, monitor)
