"""`offsite demo`: two parties, three stages, one real model, on one machine."""

import json
import shutil
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from offsite.errors import InputError
from offsite.events import Monitor
from offsite.store import disk_errors
from offsite_cli.demo.story import Cast, Choices
from offsite_cli.demo.table import show
from offsite_cli.output import Output, showing
from offsite_cli.signals import stopping

_MARK = ".offsite-demo"


def demo(
    folder: Annotated[
        Path, typer.Option(help="Where the two parties' folders go; made anew each time.")
    ] = Path("demo-output"),
    model: Annotated[
        str | None, typer.Option(help="A local model folder or a hub id instead of SmolLM2-135M.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Your own data, JSONL or text, as the private data.")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="A labelled task: 'icd-chapters', or a JSONL with choices of your own."),
    ] = None,
    upper_bound: Annotated[
        bool, typer.Option("--upper-bound", help="Fine-tune the full model as well; takes long.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    output: Annotated[Output, typer.Option("--output", "-o")] = Output.TEXT,
) -> None:
    """Play both parties on this machine, with a real model and real text.

    A model owner, the lab, has SmolLM2-135M. A data owner, the hospital, has medical coding text.
    """
    if data is not None and task is not None:
        raise InputError("--data and --task exclude each other; name one of them")
    # torch takes seconds to import, so only what needs it does so
    from offsite_cli.demo.play import play

    cast = Cast(_fresh(folder.resolve()), seed)
    choices = Choices(model=model, data=data, task=task, upper_bound=upper_bound)
    with showing(output) as emit, stopping() as stop:
        result = play(cast, choices, Monitor(emit, stop))
    if output is Output.JSON:
        print(json.dumps(result.event()))
    else:
        show(result, Console())


def _fresh(folder: Path) -> Path:
    """Empty the folder of an earlier demo, or make a new one.

    Raises:
        InputError: the folder holds something that no demo put there.
    """
    if folder.exists() and any(folder.iterdir()):
        if not (folder / _MARK).exists():
            raise InputError(f"{folder} is not empty and not of a demo; name another --folder")
        shutil.rmtree(folder)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _MARK).touch()
    return folder
