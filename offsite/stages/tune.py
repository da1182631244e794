"""The stage of the data owner: tune an adapter in the bundle, and send the adapter alone."""

from pathlib import Path

from torch import Tensor

from offsite.api import JobSpec, Tune
from offsite.bundle import (
    AdapterFacts,
    EmulatorFacts,
    Manifest,
    admit_emulator,
    check_emulator,
)
from offsite.data import Example, Shuffled
from offsite.errors import BundleError, ModelError
from offsite.events import Monitor
from offsite.exchange import Checks, Reference, pull
from offsite.layers import Loaded, blocks, load
from offsite.stages.places import text_digest
from offsite.stages.publish import already_published, finish_adapter, send
from offsite.stages.report import Yardstick, read_examples
from offsite.stages.workspace import Party, Workspace, workspace
from offsite.train import Plan
from offsite.tune import tune

_RANK = 16
_VALIDATIONS = 4
"""How often the validation loss is looked at during a run."""


def run_tune(name: str, spec: JobSpec, job: Tune, party: Party, monitor: Monitor) -> None:
    """Tune the adapter of a job and publish it to the peer. Opens no full model.

    Raises:
        BundleError: the peer sent no such bundle, or one that may not be opened.
        DataError: the private data cannot be used.
        InterruptedStage: a signal came; training goes on from its checkpoint next time.
    """
    train, validation = party.text(job.data.train), party.text(job.data.validation)
    text = party.text(job.evaluate) if job.evaluate else validation
    texts = {"train": train, "validation": validation, "evaluate": text}
    inputs = {key: text_digest(path) for key, path in texts.items()}
    envelope = party.mailbox.incoming(spec.peer, Reference.parse(job.bundle))
    inputs["bundle"] = envelope.digest
    with workspace(party, name, spec, inputs) as space:
        if already_published(space, monitor):
            return
        folder = space.opened
        checks = Checks(admit_emulator, check_emulator)
        manifest = pull(party.mailbox, envelope, folder, checks, monitor)
        loaded = _load(folder)
        yard = Yardstick.read(text, loaded, monitor)
        length = job.training.block_size
        fit_to = read_examples(train, loaded, length, monitor)
        held_out = read_examples(validation, loaded, length, monitor)
        yard.report(loaded, "emulator_zero_shot", monitor)
        facts = _facts(job, envelope.digest)
        batches = Shuffled(fit_to, job.training.batch_size, spec.seed)
        changes = _train(loaded, manifest, facts, job, batches, held_out, space, spec.seed, monitor)
        yard.report(loaded, "emulator_tuned", monitor)
        finish_adapter(space, changes, facts, manifest.architecture)
        send(space, monitor)


def _load(folder: Path) -> Loaded:
    """Load what was checked; what no check of ours foresees is still the peer's fault."""
    try:
        return load(folder)
    except ModelError as error:
        raise BundleError(str(error)) from error


def _facts(job: Tune, digest: str) -> AdapterFacts:
    adapter = job.adapter
    rank = (adapter.rank or _RANK) if adapter.method == "LoRA" else 0
    return AdapterFacts(method=adapter.method, scope=adapter.scope, rank=rank, answers=digest)


def _places(loaded: Loaded, manifest: Manifest, scope: str) -> tuple[int, ...]:
    assert isinstance(manifest.facts, EmulatorFacts)
    every = tuple(range(len(blocks(loaded.model))))
    ends = every[: manifest.facts.bottom] + every[len(every) - manifest.facts.top :]
    return every if scope == "All" else ends


def _train(
    loaded: Loaded,
    manifest: Manifest,
    facts: AdapterFacts,
    job: Tune,
    batches: Shuffled,
    validation: tuple[Example, ...],
    space: Workspace,
    seed: int,
    monitor: Monitor,
) -> dict[str, Tensor]:
    training = job.training
    steps = training.steps or training.epochs * batches.steps_per_epoch
    return tune(
        loaded.model,
        _places(loaded, manifest, facts.scope),
        batches,
        Plan(
            steps=steps,
            learning_rate=training.learning_rate,
            seed=seed,
            validate_every=max(1, steps // _VALIDATIONS),
        ),
        method=facts.method,
        rank=facts.rank,
        validation=validation,
        checkpoints=space.checkpoints,
        monitor=monitor,
        gradient_checkpointing=training.gradient_checkpointing,
    )
