"""The command `offsite demo`."""

import secrets
from pathlib import Path
from typing import Annotated

import typer

from offsite.errors import InputError
from offsite_cli.demo import pipeline
from offsite_cli.demo.parties import Parties
from offsite_cli.demo.report import show
from offsite_cli.demo.settings import Choices, Recipe
from offsite_cli.options import Format
from offsite_cli.output import Output, monitored, screen, show_json_line


def demo(  # noqa: V103 - the app finds it by name
    folder: Annotated[
        Path, typer.Option(help="Folder for the two parties; emptied each time.")
    ] = Path("demo-output"),
    model: Annotated[
        str | None, typer.Option(help="Local model folder or hub id, instead of the demo's.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Your own private data, as .jsonl or .txt; "
            "with --vision, a folder with a subfolder of images for each class."
        ),
    ] = None,
    vision: Annotated[
        bool, typer.Option("--vision", help="Classify images with a DINOv2-small, instead of text.")
    ] = False,
    task: Annotated[
        str | None,
        typer.Option(
            help="Labelled task: 'icd-chapters', or your own JSONL with choices; "
            "with --vision, 'tissue' (the default) or 'digits'."
        ),
    ] = None,
    upper_bound: Annotated[
        bool, typer.Option("--upper-bound", help="Also fine-tune the full model; slow.")
    ] = False,
    epsilon: Annotated[
        float | None,
        typer.Option(
            min=0.01, max=1000, help="Tune with differential privacy of each row, such as 8 or 2."
        ),
    ] = None,
    exchange: Annotated[
        str, typer.Option(help="s3://bucket to use as the exchange, set up by OFFSITE_EXCHANGE_*.")
    ] = "",
    credentials: Annotated[
        Path | None,
        typer.Option(
            help="Folder with the parties' credentials for --exchange: lab.json and hospital.json."
        ),
    ] = None,
    prepare: Annotated[
        bool,
        typer.Option("--prepare", help="Only write keys, model, data and job files."),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
    seeds: Annotated[
        int,
        typer.Option(
            min=1,
            max=100,
            help="Also rehearse tuning and plug-in with this many seeds: mean ± standard error.",
        ),
    ] = 1,
    output: Format = Output.TEXT,
) -> None:
    """Run all three stages here, on a real model and data.

    The model owner, a lab, has SmolLM2-135M. The data owner, a hospital, has medical coding text.
    With --vision, the lab has a DINOv2-small, and the hospital has images of stained tissue.
    """
    if (exchange == "") is not (credentials is None):
        raise InputError("--exchange and --credentials need each other; set both")
    if data is not None and task is not None:
        raise InputError("--data and --task cannot be combined; set one of them")
    with monitored(output) as monitor:
        choices = Choices(model, data, task, upper_bound, epsilon, vision, seeds)
        tag = f"-{secrets.token_hex(3)}" if exchange else ""
        parties = Parties(folder.resolve(), seed, exchange, credentials, tag)
        if prepare:
            pipeline.prepare(parties, choices, Recipe.of(choices), monitor)
            return
        result = pipeline.run_demo(parties, choices, monitor)
        if output is Output.JSON:
            show_json_line(result.event())
    if output is Output.TEXT:
        show(result, screen())
