"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from offsite_cli.output import Output

Home = Annotated[
    Path,
    typer.Option(envvar="OFFSITE_HOME", help="Your own folder: keys, peers, records, models."),
]
Exchange = Annotated[
    str,
    typer.Option(
        envvar="OFFSITE_EXCHANGE", help="The exchange point: file:///folder, or s3://bucket."
    ),
]
Format = Annotated[Output, typer.Option("--output", "-o", help="How results are written.")]

HOME = Path("~/.offsite")
