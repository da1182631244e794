"""`offsite submit`: a job to a cluster, from flags or from files."""

from typing import Annotated

import typer

from offsite.errors import InputError
from offsite_cli.cluster.access import Target
from offsite_cli.cluster.flags import (
    Distillation,
    Evaluate,
    Name,
    Peer,
    Submission,
    Training,
)
from offsite_cli.cluster.sending import Sending, send_files
from offsite_cli.cluster.watching import Timeout
from offsite_cli.groups import grouped

app = typer.Typer(invoke_without_command=True)


@app.callback()
@grouped
def submit(ctx: typer.Context, sending: Sending) -> None:
    """Submit a job, from flags or from a file: -f FILE.

    A job that is there already, with the same spec, is left as it is.
    """
    if ctx.invoked_subcommand is None:
        if not sending.files:
            raise InputError("name a stage (distill, tune or plug-in), or a file: -f FILE")
        send_files(sending)
    elif sending != Sending(Target(), Timeout()):
        raise InputError(f"options stand behind the stage: offsite submit {ctx.invoked_subcommand}")


@app.command()
@grouped
def distill(
    distillation: Distillation,
    common: Submission,
    name: Name = None,
    peer: Peer = None,
    model: Annotated[str | None, typer.Option(help="The full model.")] = None,
    blocks: Annotated[
        int | None, typer.Option(help="How many of the middle blocks are kept.")
    ] = None,
    bottom: Annotated[int | None, typer.Option(help="First blocks, sent as they are.")] = None,
    top: Annotated[int | None, typer.Option(help="Last blocks, sent as they are.")] = None,
    heal: Annotated[bool | None, typer.Option(help="Correct the kept blocks.")] = None,
    calibration: Annotated[str | None, typer.Option(help="The text to heal on.")] = None,
    expires_after: Annotated[
        str | None, typer.Option(help="How long adapters are accepted, such as 720h.")
    ] = None,
    max_uses: Annotated[int | None, typer.Option(help="How many adapters are accepted.")] = None,
    evaluate: Evaluate = None,
) -> None:
    """Make an emulator of a model, and send it to the peer."""
    section = {
        "model": model,
        "ends": {"bottom": bottom, "top": top},
        "emulator": {"blocks": blocks, "heal": heal, "calibration": calibration},
        "training": distillation.fields(),
        "grant": {"expiresAfter": expires_after, "maxUses": max_uses},
        "evaluate": evaluate,
    }
    needed = {"NAME": name, "--peer": peer, "--model": model, "--blocks": blocks}
    common.submit("distill", needed, section)


@app.command()
@grouped
def tune(
    training: Training,
    common: Submission,
    name: Name = None,
    peer: Peer = None,
    bundle: Annotated[
        str | None, typer.Option(help="The peer's emulator: NAME, or NAME@sha256:…")
    ] = None,
    train: Annotated[str | None, typer.Option(help="The private data to train on.")] = None,
    validation: Annotated[
        str | None, typer.Option(help="The private data that picks the best checkpoint.")
    ] = None,
    method: Annotated[str | None, typer.Option(help="LoRA or Blocks.")] = None,
    scope: Annotated[str | None, typer.Option(help="All or Ends.")] = None,
    rank: Annotated[int | None, typer.Option(help="The rank of LoRA.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Times through the data.")] = None,
    evaluate: Evaluate = None,
) -> None:
    """Tune an adapter in the peer's emulator on private data, and send it back."""
    section = {
        "bundle": bundle,
        "data": {"train": train, "validation": validation},
        "adapter": {"method": method, "scope": scope, "rank": rank},
        "training": {"epochs": epochs, **training.fields()},
        "evaluate": evaluate,
    }
    needed = {"NAME": name, "--peer": peer, "--bundle": bundle}
    common.submit("tune", needed | {"--train": train, "--validation": validation}, section)


@app.command("plug-in")
@grouped
def plug_in(
    common: Submission,
    name: Name = None,
    peer: Peer = None,
    model: Annotated[str | None, typer.Option(help="The full model.")] = None,
    adapter: Annotated[
        str | None, typer.Option(help="The peer's adapter: NAME, or NAME@sha256:…")
    ] = None,
    alpha: Annotated[float | None, typer.Option(help="The scale of the change.")] = None,
    export: Annotated[str | None, typer.Option(help="Where the model is written.")] = None,
    evaluate: Evaluate = None,
    max_regression: Annotated[
        float | None,
        typer.Option(help="How much worse it may make the model, such as 0.05; else no export."),
    ] = None,
) -> None:
    """Put the peer's adapter into the full model."""
    section = {
        "model": model,
        "adapter": adapter,
        "alpha": alpha,
        "evaluate": evaluate,
        "accept": {"maxRegression": max_regression},
        "export": {"to": export},
    }
    needed = {"NAME": name, "--peer": peer, "--model": model, "--adapter": adapter}
    common.submit("plug-in", needed, section)
