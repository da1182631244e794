"""The stage of the data owner: tune an adapter in the bundle that the peer sent."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from offsite.api import Tune, TuneTraining
from offsite.bundle import AdapterFacts, EmulatorFacts, Manifest, read_manifest
from offsite.errors import BundleError, ModelError
from offsite.inspection import check_inspected, inspect
from offsite.layers import Loaded, blocks, family, load
from offsite.modality import Example
from offsite.stages.audit import begin_audit
from offsite.stages.context import Context
from offsite.stages.evaluation import Evaluation, read_examples, read_units
from offsite.stages.head import begin_head, fit_head
from offsite.stages.package import finish_adapter
from offsite.stages.private import private_adapter
from offsite.steps.answers import rank_of
from offsite.steps.floors import check_floors, check_labels
from offsite.steps.workspace import Workspace
from offsite.training.data import Shuffled
from offsite.training.private import Unit
from offsite.training.run import Plan
from offsite.training.tune import Adapter, tune

_VALIDATIONS = 4
"""How often the validation loss is looked at during a run."""


def inspected_emulator(context: Context) -> Loaded:
    """Load the emulator that was opened, and inspect it on public data. Reads no private data.

    Raises:
        BundleError: transformers cannot load what the checks let through.
        SuspiciousEmulator: it may be built to memorize private data, and the party does not allow
            that.
    """
    space, monitor = context.space, context.monitor
    loaded, name = _load(space.opened), read_manifest(space.opened)[0].name
    allowed = space.party.limits.allow_suspicious_emulators
    check_inspected(inspect(loaded, monitor), name, monitor, allowed=allowed)
    return loaded


def make_adapter(context: Context, job: Tune, loaded: Loaded) -> None:
    """Tune the adapter of a job, in the bundle that was opened. Opens no full model.

    Args:
        loaded: the emulator, as `inspected_emulator` gives it.

    Raises:
        ReleaseRefused: the adapter did not pass its audits.
        DataError: the private data cannot be used, or is less than the party allows.
        InterruptedStage: a signal came; training goes on from its checkpoint next time.
    """
    space, texts, monitor = context.space, context.inputs.texts, context.monitor
    check_floors(space.party.limits, job, texts["train"])
    loaded = replace(loaded, modality=loaded.modality.augmenting(job.training.augmentation))
    check_labels(job, texts["train"], texts["validation"])
    manifest, _ = read_manifest(space.opened)
    loaded, classes = begin_head(context, job, loaded)
    facts = _facts(loaded, job, context.digests["bundle"], classes)
    evaluation = Evaluation.read(texts["evaluate"], loaded, monitor)
    places = _places(loaded, manifest, facts.scope)
    adapter = Adapter(
        facts.method, facts.rank, places, new_head=bool(classes), targets=facts.targets
    )
    units = _units(context, job, loaded)
    length = job.training.block_size
    held_out = read_examples(texts["validation"], loaded, length, monitor)
    audit = begin_audit(context, loaded, job.release, units, held_out)
    examples = [example for unit in (*units, *audit.planted) for example in unit]
    if classes and job.privacy is None:
        fit_head(loaded, len(classes), examples, held_out, monitor)
    before = evaluation.report(loaded, "emulator_zero_shot", monitor)
    if job.privacy is None:
        changes = _plain(context, job, loaded, adapter, examples, held_out)
    else:
        changes, privacy = private_adapter(context, job, loaded, adapter, units, audit.planted)
        facts = facts.model_copy(update={"privacy": privacy})
    evaluation.report(loaded, "emulator_tuned", monitor, before)
    figures = audit.check(changes, facts.privacy.delta if facts.privacy else 0.0)
    finish_adapter(space, changes, facts, manifest.architecture, figures)


def _units(context: Context, job: Tune, loaded: Loaded) -> Sequence[Unit]:
    """Read the training data as units; without privacy, each example is one."""
    text, monitor, training = context.inputs.texts["train"], context.monitor, job.training
    if job.privacy is not None:
        return read_units(text, loaded, training.block_size, monitor)
    least = training.batch_size
    return [(e,) for e in read_examples(text, loaded, training.block_size, monitor, least=least)]


def _plain(
    context: Context,
    job: Tune,
    loaded: Loaded,
    adapter: Adapter,
    examples: Sequence[Example],
    held_out: Sequence[Example],
) -> dict[str, Tensor]:
    space, collate = context.space, loaded.modality.collate
    batches = Shuffled(examples, collate, job.training.batch_size, space.spec.seed)
    plan = _plan(space, job.training, batches.steps_per_epoch)
    return tune(loaded, adapter, batches, held_out, context.run(plan))


def _load(folder: Path) -> Loaded:
    """Load what was checked; what no check of ours foresees is still the peer's fault."""
    try:
        return load(folder)
    except ModelError as error:
        raise BundleError(str(error)) from error


def _facts(loaded: Loaded, job: Tune, envelope: str, classes: tuple[str, ...]) -> AdapterFacts:
    row, adapter = family(loaded.model), job.adapter
    linears = row.linear_sizes(loaded.model.config.to_dict(), adapter.targets)
    return AdapterFacts(
        method=adapter.method,
        scope=adapter.scope,
        targets=adapter.targets,
        rank=rank_of(adapter, linears),
        outside=tuple(sorted(row.heads)),
        labels=classes,
        answers=envelope,
    )


def _places(loaded: Loaded, manifest: Manifest, scope: str) -> tuple[int, ...]:
    assert isinstance(manifest.facts, EmulatorFacts)
    every = tuple(range(len(blocks(loaded.model))))
    ends = every[: manifest.facts.bottom] + every[len(every) - manifest.facts.top :]
    return every if scope == "All" else ends


def _plan(space: Workspace, training: TuneTraining, steps_per_epoch: int) -> Plan:
    least = space.party.limits.min_steps
    # a peer's companion files may make few examples of much data
    steps = training.steps or max(least, training.epochs * steps_per_epoch)
    return Plan(
        steps=steps,
        learning_rate=training.learning_rate,
        seed=space.spec.seed,
        validate_every=max(1, steps // _VALIDATIONS),
        least=least,
        sharding=space.spec.resources.sharding,
        gradient_checkpointing=training.gradient_checkpointing,
    )
