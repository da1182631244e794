"""`offsite demo`: two parties, three stages, one real model, on one machine."""

import secrets
import sys
from pathlib import Path
from typing import Annotated

import typer

from offsite.errors import InputError
from offsite_cli.demo import play
from offsite_cli.demo.story import Cast, Choices, Recipe
from offsite_cli.demo.table import show
from offsite_cli.output import Output, monitored, screen


def demo(  # noqa: V103 - the app finds it by name
    folder: Annotated[
        Path, typer.Option(help="Where the two parties' folders go; made anew each time.")
    ] = Path("demo-output"),
    model: Annotated[
        str | None, typer.Option(help="A local model folder or a hub id instead of SmolLM2-135M.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Your own data, .jsonl or .txt, as the private data.")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="A labelled task: 'icd-chapters', or a JSONL with choices of your own."),
    ] = None,
    upper_bound: Annotated[
        bool, typer.Option("--upper-bound", help="Fine-tune the full model as well; takes long.")
    ] = False,
    exchange: Annotated[
        str, typer.Option(help="s3://bucket as the exchange, which OFFSITE_EXCHANGE_* describe.")
    ] = "",
    credentials: Annotated[
        Path | None,
        typer.Option(help="Of that: a folder with lab.json and hospital.json, each party's own."),
    ] = None,
    prepare: Annotated[
        bool,
        typer.Option("--prepare", help="Write keys, model, data and job files, and run nothing."),
    ] = False,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    output: Annotated[Output, typer.Option("--output", "-o")] = Output.TEXT,
) -> None:
    """Play both parties on this machine, with a real model and real text.

    A model owner, the lab, has SmolLM2-135M. A data owner, the hospital, has medical coding text.
    """
    if (exchange == "") is not (credentials is None):
        raise InputError("--exchange and --credentials go together; name both of them")
    if data is not None and task is not None:
        raise InputError("--data and --task exclude each other; name one of them")
    with monitored(output) as monitor:
        choices = Choices(model=model, data=data, task=task, upper_bound=upper_bound)
        tag = f"-{secrets.token_hex(3)}" if exchange else ""
        cast = Cast(folder.resolve(), seed, exchange, credentials, tag)
        if prepare:
            play.prepare(cast, choices, Recipe.of(choices), monitor)
            return
        result = play.play(cast, choices, monitor)
        if output is Output.JSON:
            monitor.emit(result.event())
    if output is Output.TEXT:
        show(result, screen(sys.stdout))
