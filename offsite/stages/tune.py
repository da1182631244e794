"""The stage of the data owner: tune an adapter in the bundle that the peer sent."""

from pathlib import Path

from offsite.api import Ends, Tune
from offsite.bundle import EmulatorFacts, read_manifest
from offsite.errors import BundleError, ModelError
from offsite.inspection import check_inspected, inspect
from offsite.layers import Loaded, block_count, load, load_base, open_lazily
from offsite.stages.audit import begin_audit
from offsite.stages.context import Context
from offsite.stages.evaluation import Evaluations
from offsite.stages.package import finish_adapter
from offsite.stages.tuning import begin_tuning, places_of
from offsite.steps.floors import check_floors


def inspected_emulator(context: Context) -> Loaded:
    """Load the emulator that was opened, and inspect it on public data. Reads no private data.

    Raises:
        BundleError: transformers cannot load what the checks let through.
        SuspiciousEmulator: it may be built to memorize private data, and the party does not allow
            that.
    """
    space, monitor = context.space, context.monitor
    loaded, name = _load(context), read_manifest(space.opened)[0].name
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
    limits = space.party.limits
    check_floors(limits, job, texts["train"])
    manifest, ends = read_manifest(space.opened)[0], _ends(space.opened)
    head, answers = space.answered().head, context.digests["bundle"]
    tuning = begin_tuning(loaded, job, ends, head, answers, texts, monitor)
    loaded = tuning.loaded
    evaluations = Evaluations.read(context.inputs, loaded, monitor)
    audit = begin_audit(context, loaded, job.release, tuning.units, tuning.held_out)
    tuning.probe(audit.planted, monitor)
    before = evaluations.report(loaded, "emulator_zero_shot", monitor)
    changes, privacy = tuning.train(audit.planted, context.trainer, limits)
    evaluations.report(loaded, "emulator_tuned", monitor, before)
    figures = audit.check(changes, privacy.delta if privacy else 0.0)
    facts = tuning.facts.model_copy(update={"privacy": privacy})
    finish_adapter(space, changes, facts, manifest.architecture, figures)


def _load(context: Context) -> Loaded:
    """Load what was checked; what no check of ours foresees is still the peer's fault."""
    folder, spec = context.space.opened, context.space.spec
    assert spec.tune is not None
    try:
        if context.shared:
            return open_lazily(folder, context.space.folder)
        if spec.resources.sharding == "FSDP":
            return load(folder)  # its shards have one dtype
        quantize, adapter = spec.tune.base.quantize, spec.tune.adapter
        whole = _end_places(folder) if adapter.method == "Blocks" else ()
        return load_base(folder, None if quantize == "None" else quantize, whole)
    except ModelError as error:
        raise BundleError(str(error)) from error


def _end_places(folder: Path) -> tuple[int, ...]:
    return places_of(block_count(folder), _ends(folder), "Ends")


def _ends(folder: Path) -> Ends:
    facts = read_manifest(folder)[0].facts
    assert isinstance(facts, EmulatorFacts)
    return Ends(bottom=facts.bottom, top=facts.top)
