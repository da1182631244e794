"""What each stage needs, from its section of the job."""

from dataclasses import dataclass

from offsite.api import DistillTraining, JobSpec
from offsite.sizing.owner import heal, plug
from offsite.sizing.passing import forward_flops, inspect, score
from offsite.sizing.phase import Needs, Phase
from offsite.sizing.setting import Machine, Training
from offsite.sizing.shape import Shape
from offsite.sizing.training import (
    base_weights,
    loaded_weights,
    train,
    trained_bytes,
    trained_numbers,
)

_RANK = 16


@dataclass(frozen=True, kw_only=True)
class Data:
    """How much data a job has, as far as is known here."""

    train: int | None = None
    """Examples that are trained on."""
    scored: int = 0
    """Positions that each model is scored on."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The model of a job: the full one, or of a Tune job the emulator that was opened."""

    shape: Shape
    bottom: int = 2
    """Of an emulator: blocks at the bottom that are the full model's own."""
    top: int = 2
    emulator: bool = False
    """Whether it is known to be the emulator, by its manifest."""


def needs_of(spec: JobSpec, subject: Subject, machine: Machine, data: Data) -> Needs:
    """Compute what the `Work` step of a job needs."""
    made = {"Distill": _distill, "Tune": _tune, "PlugIn": _plug_in}[spec.stage]
    return made(spec, subject, machine, data)


def _distill(spec: JobSpec, subject: Subject, machine: Machine, data: Data) -> Needs:
    job, shape = spec.distill, subject.shape
    assert job is not None
    ends = job.ends.bottom + job.ends.top
    middle = job.emulator.count(shape.depth - ends)
    small = shape.resized(min(shape.depth, ends + middle))
    phases: list[Phase] = []
    heals = job.emulator.heal is not False and job.has_public_data and shape.row.heal is not None
    if heals:
        phases.append(heal(shape, machine, middle))
    if job.training:
        phases.append(_distillation(job.training, shape, small, machine, ends, job.ends.bottom))
    held = None if job.training is None else loaded_weights(shape, machine)
    phases.append(score("score", shape, machine, 2 * data.scored, held=held))
    return Needs(phases=tuple(phases), sent=small.size)


def _distillation(
    job: DistillTraining, shape: Shape, small: Shape, machine: Machine, ends: int, bottom: int
) -> Phase:
    training = Training(
        batch=job.batch_size,
        length=shape.positions(job.block_size),
        steps=job.steps,
        places=small.depth - ends,
        lowest=bottom,
        whole=True,
        checkpointing=job.gradient_checkpointing,
        accumulate=job.accumulate,
    )
    # the emulator shares the tensors of the model, except for those that it trains
    phase = train("distill", small, machine, training, held=loaded_weights(shape, machine))
    positions = training.batch * training.length * training.steps
    teacher = forward_flops(shape, positions, training.length)
    return Phase(
        name=phase.name,
        memory=phase.memory,
        device=phase.device,
        flops=phase.flops + teacher,
        disk=phase.disk,
    )


def _tune(spec: JobSpec, subject: Subject, machine: Machine, data: Data) -> Needs:
    shape, training = subject.shape, tuning_of(spec, subject, data)
    adapter = 4 * trained_numbers(shape, training)
    held = base_weights(shape, machine, training)
    trained = held + trained_bytes(shape, machine, training)
    phases = (
        inspect(shape, machine, held),
        train("tune", shape, machine, training, held=held),
        score("score", shape, machine, 2 * data.scored, held=trained),
    )
    return Needs(phases=phases, sent=adapter)


def tuning_of(spec: JobSpec, subject: Subject, data: Data) -> Training:
    """Describe the training of a Tune job."""
    job, shape = spec.tune, subject.shape
    assert job is not None
    every, how = job.adapter.scope == "All", job.training
    whole = job.adapter.method == "Blocks"
    narrowest = min(min(sizes) for sizes in shape.adapted(job.adapter.targets))
    steps = how.steps or how.epochs * -(-(data.train or how.batch_size) // how.batch_size)
    return Training(
        batch=how.batch_size,
        length=shape.positions(how.block_size),
        steps=steps,
        places=shape.depth if every else min(shape.depth, subject.bottom + subject.top),
        whole=whole,
        rank=0 if whole else job.adapter.rank or min(_RANK, narrowest // 2),
        targets=job.adapter.targets,
        checkpointing=how.gradient_checkpointing,
        accumulate=how.accumulate,
        quantize=job.base.quantize,
        extra=shape.head if shape.patches is not None else 0,
    )


def _plug_in(spec: JobSpec, subject: Subject, machine: Machine, data: Data) -> Needs:
    shape = subject.shape
    adapter = 4 * _RANK * shape.depth * sum(sum(s) for s in shape.linears.values())
    phases = (
        plug(shape, machine, adapter),
        score("score", shape, machine, 2 * data.scored),
    )
    return Needs(phases=phases, sent=shape.size)
