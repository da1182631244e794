"""The first stage, of the model owner: make an emulator."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from offsite.api import Distill, DistillTraining
from offsite.bundle import EmulatorFacts, EmulatorRecord
from offsite.emulator import METHODS, Compressed, heal
from offsite.errors import DataError
from offsite.events import Monitor
from offsite.layers import Loaded, family, load
from offsite.rows import DataFile
from offsite.stages.context import Context
from offsite.stages.evaluation import Evaluation, read_examples
from offsite.stages.package import check_sendable, finish_emulator
from offsite.steps.disclosing import check_blocks, model_before, read_disclosed
from offsite.steps.feasibility import check_emulator_job, check_healable
from offsite.steps.workspace import Workspace
from offsite.store import check_room, disk_errors
from offsite.training.data import Shuffled, batches
from offsite.training.distill import Weights, distill
from offsite.training.run import Plan

_CALIBRATION_POSITIONS = 32_768
_CALIBRATION_LENGTH = 256
_CALIBRATION_BATCH = 8


def make_emulator(context: Context, job: Distill) -> None:
    """Make the emulator bundle of a job.

    Raises:
        ModelError, DataError: the model or a data set cannot be used.
        DisclosureError: the emulator would disclose more of the model than the party allows.
        InterruptedStage: a signal came; training goes on from its checkpoint next time.
    """
    space, monitor, model = context.space, context.monitor, context.model
    texts, digest = context.inputs.texts, context.digests["model"]
    chosen = _choose(space, job, model, digest)
    loaded = load(model)
    made = METHODS[job.emulator.method].compress(loaded.model, job.ends, job.emulator, chosen)
    if made.share >= 1:
        monitor.log("the emulator keeps every block: the peer gets the whole model")
    emulator = replace(loaded, model=made.model)
    check_sendable(emulator, model)
    # the step that seals marks a copy: on a laptop, on this disk
    copies = 2 if space.party.limits.watermark and space.uid is None else 1
    check_room(space.folder, copies * emulator.size)
    evaluation = Evaluation.read(data, loaded, monitor) if (data := texts.get("evaluate")) else None
    facts = _train_emulator(context, loaded, made, job)
    if evaluation:
        full = evaluation.report(loaded, "full_zero_shot", monitor)
        evaluation.report(emulator, "emulator_zero_shot", monitor, full)
    finish_emulator(space, emulator, facts, _draft(space, loaded, made, digest))


def _choose(space: Workspace, job: Distill, folder: Path, digest: str) -> tuple[int, ...]:
    """Choose the blocks that the emulator is made from, those first that were sent before."""
    entries = read_disclosed(space)
    depth = check_emulator_job(space.party, job, folder / "config.json", entries)
    model = model_before(folder, digest, depth, entries)
    sent, ends = model.disclosed(entries).blocks, job.ends
    chosen = METHODS[job.emulator.method].choose(depth, ends, job.emulator, sent)
    at_ends = (*range(ends.bottom), *range(depth - ends.top, depth))
    check_blocks(space.party, model, entries, chosen, at_ends)
    return chosen


def _train_emulator(
    context: Context, loaded: Loaded, emulator: Compressed, job: Distill
) -> EmulatorFacts:
    texts, monitor, training = context.inputs.texts, context.monitor, job.training
    wants_heal = _heals(loaded, job, texts, monitor)
    corpus: tuple[Any, ...] = ()
    if training:
        corpus = _corpus(texts["corpus"], loaded, training, monitor)
    # what healing did lies in the checkpoint of the training that came after it
    if wants_heal and not context.checkpoints.path.exists():
        _heal(loaded, emulator, texts["calibration"], context.space, monitor)
    if training:
        _train(context, loaded, emulator, training, corpus)
    return EmulatorFacts(
        method=job.emulator.method,
        parameters=job.emulator.parameters,
        bottom=job.ends.bottom,
        top=job.ends.top,
        healed=wants_heal,
        distilled_steps=training.steps if training else 0,
    )


def _weights(loaded: Loaded, training: DistillTraining) -> Weights:
    task, kd = loaded.modality.distill_weights
    return Weights(
        task if training.lm_weight is None else training.lm_weight,
        kd if training.kd_weight is None else training.kd_weight,
    )


def _corpus(
    data: DataFile, loaded: Loaded, training: DistillTraining, monitor: Monitor
) -> tuple[Any, ...]:
    """Read the corpus, with its targets only if a loss is taken on them.

    Raises:
        DataError: it has none, and one should be.
    """
    weights, length = _weights(loaded, training), training.block_size
    if not weights.task:
        return read_examples(data, _untargeted(loaded), length, monitor)
    found = read_examples(data, loaded, length, monitor)
    if not any(example.weight for example in found):
        raise DataError(
            f"{data.name}: no example has a target that this model knows, and training.lmWeight is "
            f"{weights.task:g}; set it to 0, or distil a model with a head on data with its labels"
        )
    return found


def _untargeted(loaded: Loaded) -> Loaded:
    """Return the model with a modality that only reads."""
    return replace(loaded, modality=loaded.modality.without_targets())


def _heal(
    loaded: Loaded,
    emulator: Compressed,
    data: DataFile,
    space: Workspace,
    monitor: Monitor,
) -> None:
    examples = read_examples(data, _untargeted(loaded), _CALIBRATION_LENGTH, monitor)
    longest = max(example.size for example in examples)
    fitting = examples[: max(1, _CALIBRATION_POSITIONS // longest)]
    stacked = batches(fitting, loaded.modality.collate, _CALIBRATION_BATCH)
    fit_to = [batch.to(loaded.model.device) for batch in stacked]
    for leftover in space.folder.glob("heal-*"):  # of an attempt that was killed
        shutil.rmtree(leftover)
    with disk_errors(space.folder):
        heal(loaded.model, emulator, fit_to, monitor, scratch=space.folder)


def _heals(loaded: Loaded, job: Distill, texts: dict[str, DataFile], monitor: Monitor) -> bool:
    """Decide whether to heal; raises ModelError if the job insists on what cannot be done."""
    row = family(loaded.model)
    possible = row.healed_by(loaded.model.config.to_dict()) is not None
    if job.emulator.heal:
        check_healable(row, loaded.model.config.to_dict())
    if job.emulator.heal is None and possible and "calibration" not in texts:
        monitor.log("healing is left out: there is no emulator.calibration to fit to")
    if job.emulator.heal is None and not possible:
        monitor.log(f"healing is left out: {row.model_type} has no projection to fold it into")
    return possible and job.emulator.heal is not False and "calibration" in texts


def _train(
    context: Context,
    loaded: Loaded,
    emulator: Compressed,
    training: DistillTraining,
    corpus: tuple[Any, ...],
) -> None:
    spec = context.space.spec
    plan = Plan(
        steps=training.steps,
        learning_rate=training.learning_rate,
        seed=spec.seed,
        sharding=spec.resources.sharding,
        gradient_checkpointing=training.gradient_checkpointing,
    )
    shuffled = Shuffled(corpus, loaded.modality.collate, training.batch_size, spec.seed)
    distill(loaded, emulator, shuffled, _weights(loaded, training), context.run(plan))


def _draft(space: Workspace, loaded: Loaded, made: Compressed, model: str) -> EmulatorRecord:
    """Write down what is to be remembered of the emulator, as soon as it has an envelope."""
    return EmulatorRecord(
        bundle=space.name,
        digest="sha256:" + "0" * 64,
        recipient=space.peer_id,
        architecture=family(loaded.model).architecture,
        model_digest=model,
        blocks=made.blocks,
    )
