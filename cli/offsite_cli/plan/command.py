"""`offsite plan`: memory, time and bytes that a job will need, before anything is loaded."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from offsite.api import JobSpec
from offsite.bundle import read_manifest
from offsite.config import load_job
from offsite.errors import InputError
from offsite.rows import DataFile
from offsite.sizing import (
    Data,
    Machine,
    Needs,
    Subject,
    count_examples,
    count_positions,
    needs_of,
    subject_in,
)
from offsite.store import user_path
from offsite_cli.options import HOME, Format, Home
from offsite_cli.output import Output, show_json, show_text
from offsite_cli.plan.machine import limit_of, rate_of
from offsite_cli.plan.report import Planned, as_facts, as_lines


def plan(
    file: Annotated[Path, typer.Argument(help="Job file: an OffsiteJob in YAML.")],
    model: Annotated[
        Path | None,
        typer.Option(
            help="Folder or config.json of the model, if it is not where the job says. For a Tune "
            "job: of the emulator (`offsite bundles pull`), or of the full model with --blocks."
        ),
    ] = None,
    blocks: Annotated[
        int | None,
        typer.Option(min=1, help="Blocks of the emulator in all, where --model is the full model."),
    ] = None,
    examples: Annotated[
        int | None, typer.Option(min=1, help="Training examples, if the data is not here.")
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            help="Memory of the machine, such as 16Gi. Defaults to resources.memoryPerWorker if "
            "the job sets it, else to what is free here."
        ),
    ] = None,
    gpu_memory: Annotated[
        str | None, typer.Option(help="Memory of one GPU, such as 80Gi. Plans for a GPU.")
    ] = None,
    tflops: Annotated[
        float | None,
        typer.Option(
            min=1e-6, help="Speed of a worker in TFLOP/s. Absent: measured here, in a few seconds."
        ),
    ] = None,
    bfloat16: Annotated[
        bool | None,
        typer.Option(
            "--bfloat16/--float32",
            help="How the machine multiplies matrices. Absent: as measured here, or bfloat16.",
        ),
    ] = None,
    home: Home = HOME,
    output: Format = Output.TEXT,
) -> None:
    """Compute the memory, time and bytes that a job will need, before anything is loaded.

    Reads the config of the model and the sizes of files, and no tensor. Says first what does not
    fit, and which change would make it fit. Exits with 2 if it does not fit.
    """
    spec = load_job(file).spec
    subject = _subject(spec, file, model, blocks, home)
    limit = limit_of(spec, memory, gpu_memory)
    rate = rate_of(tflops, bfloat16)
    machine = replace(Machine.of(spec.resources), gpu=limit.gpu, bfloat16=rate.bfloat16)
    data = _data(spec, file, subject, examples)

    def compute(changed: JobSpec) -> Needs:
        own = Machine.of(changed.resources)
        at = replace(machine, workers=own.workers, sharded=own.sharded)
        return needs_of(changed, subject, at, data)

    planned = Planned.of(spec, compute, limit, rate)
    if output is Output.JSON:
        show_json(as_facts(planned))
    else:
        show_text(*as_lines(planned))
    if not planned.fits:
        raise typer.Exit(2)


def _subject(
    spec: JobSpec, file: Path, model: Path | None, blocks: int | None, home: Path
) -> Subject:
    """Find the shape of the model: where the job says, or where the flags say."""
    if model is None:
        model = _model(spec, file) if spec.tune is None else _opened(spec, home)
    subject = subject_in(model.expanduser())
    if blocks is not None:
        if subject.emulator or spec.tune is None:
            raise InputError("--blocks is for a Tune job with the full model as --model; remove it")
        return replace(subject, shape=subject.shape.resized(blocks))
    return subject


def _model(spec: JobSpec, file: Path) -> Path:
    location = spec.model or ""
    if location.partition("://")[0] in ("s3", "pvc", "hf"):
        raise InputError(f"{location} is not on this machine; set --model to its config.json")
    return file.resolve().parent / user_path(location)


def _opened(spec: JobSpec, home: Path) -> Path:
    """Find an emulator that an earlier run of the job opened."""
    name = (spec.bundle or "").partition("@")[0]
    for manifest in sorted(home.expanduser().glob("work/*/opened/manifest.json")):
        if read_manifest(manifest.parent)[0].name == name:
            return manifest.parent
    raise InputError(
        f"the emulator {name} was not opened here yet; set --model to its folder "
        f"(`offsite bundles pull {name} FOLDER`), or to the config.json of the full model with "
        "--blocks"
    )


def _data(spec: JobSpec, file: Path, subject: Subject, examples: int | None) -> Data:
    """Count the data that is on this machine."""
    tune, stage = spec.tune, spec.tune or spec.distill or spec.plug_in
    assert stage is not None
    scored = _file(stage.evaluate or (tune.data.validation if tune else None), file)
    positions = count_positions(scored, subject.shape) if scored else 0
    train = _file(tune.data.train, file) if tune else None
    if examples is None and tune and train:
        examples = count_examples(train, subject.shape, tune.training.block_size)
    return Data(train=examples, scored=positions)


def _file(location: str | None, file: Path) -> DataFile | None:
    """Locate data; None: it is not on this machine."""
    if location is None or location.partition("://")[0] in ("s3", "pvc"):
        return None
    path = file.resolve().parent / user_path(location)
    return DataFile(path, location) if path.exists() else None
