"""The commands `offsite submit`, `submit distill`, `submit tune` and `submit plug-in`."""

from typing import Annotated

import typer

from offsite.errors import InputError
from offsite_cli.cluster.connection import Target
from offsite_cli.cluster.submit.create import SubmitOptions, submit_files
from offsite_cli.cluster.submit.options import EvaluationOptions, JobOptions, Name, Peer
from offsite_cli.cluster.submit.sections import (
    AdapterOptions,
    AlphaOptions,
    DataOptions,
    DistillationOptions,
    PrivacyOptions,
    RecoveryOptions,
    ReleaseOptions,
    TuningOptions,
)
from offsite_cli.cluster.watch import Timeout
from offsite_cli.options import grouped

app = typer.Typer(invoke_without_command=True)


@app.callback()
@grouped
def submit(ctx: typer.Context, options: SubmitOptions) -> None:
    """Submit a job, from flags or from a file: -f FILE.

    A job that already exists with the same spec is left unchanged.
    """
    if ctx.invoked_subcommand is None:
        if not options.files:
            raise InputError(
                "nothing to submit: name a stage (distill, tune or plug-in), or a file with -f FILE"
            )
        submit_files(options)
    elif options != SubmitOptions(Target(), Timeout()):
        raise InputError(
            f"put options after the stage: offsite submit {ctx.invoked_subcommand} [OPTIONS]"
        )


@app.command()
@grouped
def distill(
    distillation: DistillationOptions,
    release: RecoveryOptions,
    evaluation: EvaluationOptions,
    common: JobOptions,
    name: Name = None,
    peer: Peer = None,
    model: Annotated[str | None, typer.Option(help="Location of the full model.")] = None,
    blocks: Annotated[
        int | None, typer.Option(help="Number of middle blocks that the emulator keeps.")
    ] = None,
    bottom: Annotated[
        int | None, typer.Option(help="Number of first blocks, sent unchanged.")
    ] = None,
    top: Annotated[int | None, typer.Option(help="Number of last blocks, sent unchanged.")] = None,
    heal: Annotated[
        bool | None, typer.Option(help="Fit the kept blocks to make up for the dropped ones.")
    ] = None,
    calibration: Annotated[
        str | None, typer.Option(help="Location of the text to heal on.")
    ] = None,
    expires_after: Annotated[
        str | None, typer.Option(help="Reject adapters received after this time, such as 720h.")
    ] = None,
    max_uses: Annotated[
        int | None, typer.Option(help="Maximum number of adapters to accept.")
    ] = None,
) -> None:
    """Make an emulator of a model, and send it to the peer."""
    section = {
        "model": model,
        "ends": {"bottom": bottom, "top": top},
        "emulator": {"blocks": blocks, "heal": heal, "calibration": calibration},
        "training": distillation.fields(),
        "grant": {"expiresAfter": expires_after, "maxUses": max_uses},
        "release": release.fields(),
        **evaluation.fields(),
    }
    required = {"NAME": name, "--peer": peer, "--model": model, "--blocks": blocks}
    common.submit("distill", required, section)


@app.command()
@grouped
def tune(
    data: DataOptions,
    adapter: AdapterOptions,
    tuning: TuningOptions,
    privacy: PrivacyOptions,
    release: ReleaseOptions,
    evaluation: EvaluationOptions,
    common: JobOptions,
    name: Name = None,
    peer: Peer = None,
    bundle: Annotated[
        str | None, typer.Option(help="The peer's emulator, as NAME or NAME@sha256:…")
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(help="Class of a new classification head, for images. Repeatable."),
    ] = None,
    quantize: Annotated[
        str | None, typer.Option(help="Hold the emulator quantized: None, Int8 or NF4.")
    ] = None,
) -> None:
    """Tune an adapter on private data, and send it back."""
    places = data.fields()
    section = {
        "bundle": bundle,
        "data": places,
        "adapter": {**adapter.fields(), "head": {"labels": label}},
        "training": tuning.fields(),
        "base": {"quantize": quantize},
        "privacy": privacy.fields(),
        "release": release.fields(),
        **evaluation.fields(),
    }
    required = {"NAME": name, "--peer": peer, "--bundle": bundle}
    required |= {"--train": places["train"], "--validation": places["validation"]}
    common.submit("tune", required, section)


@app.command("plug-in")
@grouped
def plug_in(
    scale: AlphaOptions,
    evaluation: EvaluationOptions,
    common: JobOptions,
    name: Name = None,
    peer: Peer = None,
    model: Annotated[str | None, typer.Option(help="Location of the full model.")] = None,
    adapter: Annotated[
        str | None, typer.Option(help="The peer's adapter, as NAME or NAME@sha256:…")
    ] = None,
    export: Annotated[
        str | None, typer.Option(help="Location to write the plugged-in model to.")
    ] = None,
    max_regression: Annotated[
        float | None,
        typer.Option(
            help="Largest accepted loss of quality, such as 0.05; above it, nothing is exported."
        ),
    ] = None,
) -> None:
    """Plug the peer's adapter into the full model."""
    section = {
        "model": model,
        "adapter": adapter,
        **scale.fields(),
        **evaluation.fields(),
        "accept": {"maxRegression": max_regression},
        "export": {"to": export},
    }
    required = {"NAME": name, "--peer": peer, "--model": model, "--adapter": adapter}
    common.submit("plug-in", required, section)
