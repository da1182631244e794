"""The stage of the data owner: tune an adapter in the bundle that the peer sent."""

from pathlib import Path

from torch import Tensor

from offsite.api import Tune
from offsite.bundle import AdapterFacts, EmulatorFacts, Manifest, read_manifest
from offsite.errors import BundleError, ModelError
from offsite.events import Monitor
from offsite.layers import Loaded, blocks, family, load
from offsite.stages.evaluation import Evaluation, read_examples
from offsite.stages.package import finish_adapter
from offsite.steps.answers import rank_of
from offsite.steps.floors import check_floors
from offsite.steps.inputs import Inputs
from offsite.steps.workspace import Workspace
from offsite.training.data import Example, Shuffled
from offsite.training.train import Checkpoints, Plan
from offsite.training.tune import tune

_VALIDATIONS = 4
"""How often the validation loss is looked at during a run."""


def make_adapter(
    space: Workspace,
    job: Tune,
    inputs: Inputs,
    envelope: str,
    checkpoints: Checkpoints,
    monitor: Monitor,
) -> None:
    """Tune the adapter of a job, in the bundle that was opened. Opens no full model.

    Args:
        envelope: the digest of the bundle's envelope.

    Raises:
        BundleError: transformers cannot load what the checks let through.
        DataError: the private data cannot be used, or is less than the party allows.
        InterruptedStage: a signal came; training goes on from its checkpoint next time.
    """
    check_floors(space.party.limits, job, inputs.texts["train"])
    manifest, _ = read_manifest(space.opened)
    loaded = _load(space.opened)
    config = loaded.model.config.to_dict()
    rank = rank_of(job.adapter, family(loaded.model).linear_sizes(config))
    yard = Evaluation.read(inputs.texts["evaluate"], loaded, monitor)
    length, batch = job.training.block_size, job.training.batch_size
    fit_to = read_examples(inputs.texts["train"], loaded, length, monitor, least=batch)
    held_out = read_examples(inputs.texts["validation"], loaded, length, monitor)
    yard.report(loaded, "emulator_zero_shot", monitor)
    facts = AdapterFacts(
        method=job.adapter.method, scope=job.adapter.scope, rank=rank, answers=envelope
    )
    batches = Shuffled(fit_to, batch, space.spec.seed)
    changes = _train(space, loaded, manifest, facts, job, batches, held_out, checkpoints, monitor)
    yard.report(loaded, "emulator_tuned", monitor)
    finish_adapter(space, changes, facts, manifest.architecture)


def _load(folder: Path) -> Loaded:
    """Load what was checked; what no check of ours foresees is still the peer's fault."""
    try:
        return load(folder)
    except ModelError as error:
        raise BundleError(str(error)) from error


def _places(loaded: Loaded, manifest: Manifest, scope: str) -> tuple[int, ...]:
    assert isinstance(manifest.facts, EmulatorFacts)
    every = tuple(range(len(blocks(loaded.model))))
    ends = every[: manifest.facts.bottom] + every[len(every) - manifest.facts.top :]
    return every if scope == "All" else ends


def _train(
    space: Workspace,
    loaded: Loaded,
    manifest: Manifest,
    facts: AdapterFacts,
    job: Tune,
    batches: Shuffled,
    validation: tuple[Example, ...],
    checkpoints: Checkpoints,
    monitor: Monitor,
) -> dict[str, Tensor]:
    training, least = job.training, space.party.limits.min_steps
    # a peer's tokenizer may make few blocks of much text
    steps = training.steps or max(least, training.epochs * batches.steps_per_epoch)
    return tune(
        loaded.model,
        _places(loaded, manifest, facts.scope),
        batches,
        Plan(
            steps=steps,
            learning_rate=training.learning_rate,
            seed=batches.seed,
            validate_every=max(1, steps // _VALIDATIONS),
            least=least,
            sharding=space.spec.resources.sharding,
        ),
        method=facts.method,
        rank=facts.rank,
        validation=validation,
        checkpoints=checkpoints,
        monitor=monitor,
        gradient_checkpointing=training.gradient_checkpointing,
    )
