"""Heals and distills an emulator, and describes it: what a Distill job and a rehearsal share."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from offsite.api import Distill, DistillTraining
from offsite.bundle import EmulatorFacts, EmulatorRecord, head_of, outside_of
from offsite.emulator import Compressed, heal
from offsite.errors import DataError
from offsite.events import Monitor
from offsite.layers import Loaded, family
from offsite.rows import DataFile
from offsite.stages.context import Trainer
from offsite.stages.evaluation import read_examples
from offsite.steps.feasibility import check_healable
from offsite.training.data import Shuffled, batches
from offsite.training.distill import Weights, distill

_CALIBRATION_POSITIONS = 32_768
_CALIBRATION_LENGTH = 256
_CALIBRATION_BATCH = 8


def fit_emulator(
    loaded: Loaded,
    emulator: Compressed,
    job: Distill,
    texts: Mapping[str, DataFile],
    trainer: Trainer,
    scratch: Path,
) -> EmulatorFacts:
    """Heal and distill an emulator, in place, as its job asks for.

    Args:
        loaded: the full model.
        texts: `corpus` to distill on, and `calibration` to heal on.
        scratch: folder for intermediate files.

    Raises:
        DataError: a data set cannot be used.
        ModelError: the job insists on healing, and the family has no projection for it.
        InterruptedStage: a signal came; training goes on from its checkpoint next time.
    """
    monitor, training = trainer.monitor, job.training
    wants_heal = _heals(loaded, job, texts, monitor)
    corpus: tuple[Any, ...] = ()
    if training:
        corpus = _corpus(texts["corpus"], loaded, training, monitor)
    # a checkpoint was written after healing, and holds the healed weights
    if wants_heal and not trainer.checkpoints.path.exists():
        _heal(loaded, emulator, texts["calibration"], scratch, monitor)
    if training:
        _train(loaded, emulator, training, corpus, trainer)
    return EmulatorFacts(
        method=job.emulator.method,
        parameters=job.emulator.parameters,
        bottom=job.ends.bottom,
        top=job.ends.top,
        healed=wants_heal,
        distilled_steps=training.steps if training else 0,
    )


def record_of(emulator: Compressed, model: str, bundle: str, recipient: str) -> EmulatorRecord:
    """Describe an emulator, as its owner remembers it once it has an envelope.

    Args:
        model: digest of the full model.
    """
    row, config = family(emulator.model), emulator.model.config.to_dict()
    return EmulatorRecord(
        bundle=bundle,
        digest="sha256:" + "0" * 64,
        recipient=recipient,
        architecture=row.architecture,
        model_digest=model,
        blocks=emulator.blocks,
        outside=outside_of(row, config),
        head=head_of(row, config),
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
    scratch: Path,
    monitor: Monitor,
) -> None:
    examples = read_examples(data, _untargeted(loaded), _CALIBRATION_LENGTH, monitor)
    longest = max(example.size for example in examples)
    fitting = examples[: max(1, _CALIBRATION_POSITIONS // longest)]
    stacked = batches(fitting, loaded.modality.collate, _CALIBRATION_BATCH)
    fit_to = [batch.to(loaded.model.device) for batch in stacked]
    heal(loaded.model, emulator, fit_to, monitor, scratch=scratch)


def _heals(loaded: Loaded, job: Distill, texts: Mapping[str, DataFile], monitor: Monitor) -> bool:
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
    loaded: Loaded,
    emulator: Compressed,
    training: DistillTraining,
    corpus: tuple[Any, ...],
    trainer: Trainer,
) -> None:
    shuffled = Shuffled(corpus, loaded.modality.collate, training.batch_size, trainer.seed)
    run = trainer.run(training, training.steps)
    distill(loaded, emulator, shuffled, _weights(loaded, training), run)
