"""The stage of the model owner that comes first: make an emulator, and send it."""

import shutil
from dataclasses import replace
from pathlib import Path

from transformers import PreTrainedModel

from offsite.api import Distill, DistillTraining, Grant, JobSpec
from offsite.bundle import BlockRecord, EmulatorFacts, EmulatorRecord
from offsite.data import Example, Shuffled, batches
from offsite.distill import Weights, distill
from offsite.emulator import Layout, drop_layers, heal
from offsite.errors import ModelError
from offsite.events import Monitor
from offsite.layers import Loaded, blocks, family, load
from offsite.stages.places import model_digest, text_digest
from offsite.stages.publish import already_published, finish_emulator, send, terms
from offsite.stages.report import Yardstick, read_examples
from offsite.stages.workspace import Party, Workspace, workspace
from offsite.store import disk_errors
from offsite.train import Plan

_CALIBRATION_TOKENS = 32_768
_CALIBRATION_LENGTH = 256
_CALIBRATION_BATCH = 8


def run_distill(name: str, spec: JobSpec, job: Distill, party: Party, monitor: Monitor) -> None:
    """Make the emulator bundle of a job and publish it to the peer.

    Raises:
        ModelError, DataError: the model or a text cannot be used.
        InterruptedStage: a signal came; training goes on from its checkpoint next time.
    """
    party.mailbox.peers.get(spec.peer)
    texts = _texts(job, party)
    inputs = {key: text_digest(path) for key, path in texts.items()}
    folder = party.model(job.model)
    inputs["model"] = model_digest(folder)
    with workspace(party, name, spec, inputs) as space:
        if already_published(space, monitor):
            return
        loaded = load(folder)
        layout = Layout.uniform(
            len(blocks(loaded.model)), job.ends.bottom, job.ends.top, job.emulator.blocks
        )
        if len(layout.kept) == len(blocks(loaded.model)):
            monitor.log("the emulator keeps every block: the peer gets the whole model")
        yard = Yardstick.read(text, loaded, monitor) if (text := texts.get("evaluate")) else None
        made, facts = _make(loaded, layout, job, texts, spec.seed, space, monitor)
        if yard:
            yard.report(loaded, "full_zero_shot", monitor)
            yard.report(made, "emulator_zero_shot", monitor)
        draft = _draft(space, loaded, layout, inputs["model"], job.grant)
        finish_emulator(space, made, facts, draft)
        send(space, monitor)


def _texts(job: Distill, party: Party) -> dict[str, Path]:
    named = {
        "corpus": job.training and job.training.corpus,
        "calibration": job.emulator.calibration or (job.training and job.training.corpus),
        "evaluate": job.evaluate,
    }
    return {key: party.text(location) for key, location in named.items() if location}


def _make(
    loaded: Loaded,
    layout: Layout,
    job: Distill,
    texts: dict[str, Path],
    seed: int,
    space: Workspace,
    monitor: Monitor,
) -> tuple[Loaded, EmulatorFacts]:
    emulator = drop_layers(loaded.model, layout)
    wants_heal = _heals(loaded, job, texts, monitor)
    training = job.training
    corpus: tuple[Example, ...] = ()
    if training:
        corpus = read_examples(texts["corpus"], loaded, training.block_size, monitor)
    # what healing did lies in the checkpoint of the training that came after it
    if wants_heal and not space.checkpoints.path.exists():
        _heal(loaded, emulator, layout, texts["calibration"], space, monitor)
    if training:
        _train(loaded, emulator, layout, training, corpus, seed, space, monitor)
    return replace(loaded, model=emulator), EmulatorFacts(
        bottom=layout.bottom,
        top=layout.top,
        healed=wants_heal,
        distilled_steps=training.steps if training else 0,
    )


def _heal(
    loaded: Loaded,
    emulator: PreTrainedModel,
    layout: Layout,
    text: Path,
    space: Workspace,
    monitor: Monitor,
) -> None:
    examples = read_examples(text, loaded, _CALIBRATION_LENGTH, monitor)
    longest = max(len(example.tokens) for example in examples)
    fitting = examples[: max(1, _CALIBRATION_TOKENS // longest)]
    fit_to = [b.to(loaded.model.device) for b in batches(fitting, _CALIBRATION_BATCH)]
    for leftover in space.folder.glob("heal-*"):  # of an attempt that was killed
        shutil.rmtree(leftover)
    with disk_errors(space.folder):
        heal(loaded.model, emulator, layout, fit_to, monitor, scratch=space.folder)


def _heals(loaded: Loaded, job: Distill, texts: dict[str, Path], monitor: Monitor) -> bool:
    """Decide whether to heal; raises ModelError if the job insists on what cannot be done."""
    row = family(loaded.model)
    possible = row.healed_by(loaded.model.config.to_dict()) is not None
    if job.emulator.heal and not possible:
        raise ModelError(
            f"emulator.heal: a {row.model_type} model has no projection to fold a correction "
            "into; leave heal out, or train the emulator instead"
        )
    if job.emulator.heal is None and possible and "calibration" not in texts:
        monitor.log("healing is left out: there is no emulator.calibration text to fit to")
    if job.emulator.heal is None and not possible:
        monitor.log(f"healing is left out: {row.model_type} has no projection to fold it into")
    return possible and job.emulator.heal is not False and "calibration" in texts


def _train(
    loaded: Loaded,
    emulator: PreTrainedModel,
    layout: Layout,
    training: DistillTraining,
    corpus: tuple[Example, ...],
    seed: int,
    space: Workspace,
    monitor: Monitor,
) -> None:
    distill(
        loaded.model,
        emulator,
        layout,
        Shuffled(corpus, training.batch_size, seed),
        Plan(steps=training.steps, learning_rate=training.learning_rate, seed=seed),
        Weights(training.lm_weight, training.kd_weight),
        checkpoints=space.checkpoints,
        monitor=monitor,
        gradient_checkpointing=training.gradient_checkpointing,
    )


def _draft(
    space: Workspace, loaded: Loaded, layout: Layout, model: str, grant: Grant
) -> EmulatorRecord:
    """Write down what is to be remembered of the emulator, as soon as it has an envelope."""
    row, config = family(loaded.model), loaded.model.config.to_dict()
    return EmulatorRecord(
        bundle=space.job,
        digest="sha256:" + "0" * 64,
        grant=terms(grant),
        recipient=space.party.mailbox.peers.get(space.peer).id,
        architecture=row.architecture,
        model_digest=model,
        blocks=tuple(
            BlockRecord(full=full, end=place in layout.ends)
            for place, full in enumerate(layout.kept)
        ),
        tensors=row.block_tensors(config),
        linears=row.linear_sizes(config),
    )
