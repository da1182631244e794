"""`offsite run`: one stage, in this process."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from offsite.config import load_job
from offsite.exchange.home import open_mailbox
from offsite.process.lifetime import uncollected
from offsite.sealing import Disclosure
from offsite.store.private_store import PrivateStore
from offsite_cli.local import check_local, unheeded
from offsite_cli.options import HOME, Exchange, Format, Home
from offsite_cli.output import Output, monitored
from offsite_cli.passphrase import asked


def run(
    file: Annotated[Path, typer.Argument(help="A job file: an OffsiteJob in YAML.")],
    exchange: Exchange,
    home: Home = HOME,
    output: Format = Output.TEXT,
    checkpoint_seconds: Annotated[
        float, typer.Option(min=0.0, help="Time between two checkpoints.")
    ] = 60.0,
    notices: Annotated[
        Disclosure,
        typer.Option(envvar="OFFSITE_NOTICES", help="What the peer is told if the stage fails."),
    ] = Disclosure.REASON,
) -> None:
    """Run the stage of a job file here and publish its result.

    Stopped by a signal, or killed, it goes on from its last checkpoint when run again.
    """
    secret = asked(home)
    with monitored(output) as monitor:
        job = load_job(file)
        check_local(job.spec, str(file))
        if (told := unheeded(job.spec)) is not None:
            monitor.log(told)
        place = home.expanduser().resolve()
        mailbox = open_mailbox(place, exchange, os.environ, secret)
        # torch takes seconds to import, so only what needs it does so
        with uncollected():
            from offsite.stages.run import run_job
        from offsite.steps import Party

        private_store = PrivateStore(place / "copies", mailbox.store, os.environ)
        base = file.resolve().parent
        party = Party.on_this_machine(mailbox.id, place, private_store, base, checkpoint_seconds)
        run_job(job, replace(party, notices=notices), mailbox, monitor)
